// SPDX-License-Identifier: Apache-2.0
/**
 * The server: control plane and gateway in one process. The composition root, where every part gets what it
 * needs; nothing else knows everybody.
 */
import { join } from "node:path";
import type { StatusResponse } from "@postern/contract";
import { createApiServer } from "./api/router.ts";
import { approvalRoutes } from "./api/approval-routes.ts";
import { budgetRoutes } from "./api/budget-routes.ts";
import { identityRoutes } from "./api/identity-routes.ts";
import { postureRoutes } from "./api/posture-routes.ts";
import { operatorRoutes } from "./api/routes.ts";
import { FederatedBundles } from "./attestation/federation/federated-bundles.ts";
import { protectMemory } from "./attestation/process/native.ts";
import { Runs } from "./attestation/process/runs.ts";
import { objectionToAgent } from "./attestation/process/who-asks.ts";
import { resourceChangeEvent, secretChangeEvent, serverEvent } from "./audit/change-events.ts";
import { formatVkey } from "./audit/checkpoint.ts";
import type { AuditEvent } from "./audit/event-frame.ts";
import { exportLog, exportTiles } from "./audit/export.ts";
import { type AuditLog, openAuditLog } from "./audit/log.ts";
import { type Config, readConfig } from "./config/config.ts";
import { Vault } from "./credentials/vault/vault.ts";
import { Gateway } from "./gateway/gateway.ts";
import type { Snapshot } from "./gateway/ports.ts";
import { buildSnapshot } from "./gateway/snapshot.ts";
import { ControlPlane } from "./governance/control-plane.ts";
import { PostureDesk } from "./governance/posture-desk.ts";
import { PostureSources } from "./governance/posture-sources.ts";
import { systemClock as clock } from "./kernel/clock.ts";
import { newId } from "./kernel/ids.ts";
import { faultFields, type Log } from "./kernel/log.ts";
import { ok, refuse } from "./kernel/result.ts";
import { ecdsaSigningKey, ed25519SigningKey } from "./keys/signing-keys.ts";
import { loadProfiles } from "./profiles/profile.ts";
import { readinessOf } from "./telemetry/readiness.ts";
import type { ChangeWatch } from "./store/changes.ts";
import { setUpApprovals } from "./wiring/approvals.ts";
import { AttestDesk } from "./wiring/attest-desk.ts";
import { auditSink } from "./wiring/audit-sink.ts";
import { budgetStates } from "./wiring/budget-states.ts";
import { makeBackup } from "./wiring/backup.ts";
import { loadAuthority } from "./wiring/authority.ts";
import { listenForOperators } from "./wiring/control-socket.ts";
import { openBundleEndpoint } from "./wiring/bundle-endpoint.ts";
import { credentialSource } from "./wiring/credential-source.ts";
import { explainDecision } from "./wiring/explain-decision.ts";
import { followChanges } from "./wiring/follow-changes.ts";
import { IdentityDesk } from "./wiring/identity-desk.ts";
import { KnownSecrets } from "./wiring/known-secrets.ts";
import { LiveFacts } from "./wiring/live-facts.ts";
import { RunDesk } from "./wiring/open-run.ts";
import { openStorage } from "./wiring/open-storage.ts";
import { OwnSvid } from "./wiring/own-svid.ts";
import { profileFacts } from "./rehearsal/profile-facts.ts";
import { tailOf } from "./wiring/audit-lines.ts";
import { listResources } from "./wiring/list-resources.ts";
import { operatorOf } from "./wiring/operator-of.ts";
import { type RunningServer, runProcess } from "./wiring/run-process.ts";
import { hostsOf, openRemoteAgents, type RemoteAgents } from "./wiring/remote-agents/open-remote-agents.ts";
import { readinessProbes } from "./wiring/readiness-probes.ts";
import { Telemetry } from "./wiring/telemetry.ts";
import { makeJoinToken } from "./wiring/make-join-token.ts";
import { VaultKeys } from "./wiring/vault-keys.ts";

const VERSION = "0.1.0";

async function start(config: Config, log: Log): Promise<RunningServer> {
  const { dataFolder } = config;
  const storage = await openStorage(config, clock, log);
  const { store, keys } = storage;
  const telemetry = await Telemetry.open(config, log, VERSION);
  const knownEpochs = await store.epochs();
  const vault = new Vault(store.secrets, keys);
  const auditKey = await ed25519SigningKey(storage.auditKeyName, store.keys, keys.current);
  const audit = await openAuditLog({
    folder: join(dataFolder, "audit"),
    signer: auditKey,
    clock,
    ...telemetry.logWatcher,
    onFault: (error) => log.write("error", "the audit log failed", faultFields(error)),
  });
  const record = (event: AuditEvent): Promise<void> => audit.append(event).durable;
  const { cutBytes } = audit.recovery;
  const notice =
    cutBytes > 0 ? `${cutBytes} bytes of an unfinished entry were cut off and kept aside` : undefined;
  if (notice !== undefined)
    log.write("warn", "the audit log was mended: an unfinished entry was cut off", { bytes: cutBytes });
  await record(serverStamp("start", notice));

  const authority = loadAuthority(
    dataFolder,
    await ecdsaSigningKey("postern-ca", store.keys, keys.current),
    clock,
  );
  const profiles = loadProfiles();
  const secretNames = async (): Promise<Set<string>> =>
    new Set((await vault.listSecrets()).map(({ name }) => name));
  let snapshot: Snapshot | undefined;
  let gateway!: Gateway;
  let watch: ChangeWatch | undefined;
  let identity: IdentityDesk | undefined;
  let remoteAgents: RemoteAgents | undefined;
  const isStale = (): boolean => watch !== undefined && watch.age() > config.maxSnapshotAge;
  const posture = await PostureDesk.open({
    ...{ store: store.posture, clock, audit: record },
    changed: () => facts.changed(),
  });
  const facts = new LiveFacts(config, { log, posture });
  const postureSources = new PostureSources({
    ...{ desk: posture, clock, log, chance: Math.random },
    secret: async (name) => {
      const found = await vault.resolve(name);
      return found.ok ? ok(found.value.secret) : refuse("credential_unavailable");
    },
  });
  const endedByCut = new Map<string, number>();
  const federation = new FederatedBundles({
    ...{ clock, log, chance: Math.random },
    ownBundle: () => identity?.issuer.bundle,
  });
  const plane = await ControlPlane.open({
    resources: store.resources,
    agentStates: store.agentStates,
    profiles: new Map([...profiles].map(([name, profile]) => [name, profileFacts(profile)])),
    secretNames,
    trustDomain: config.trustDomain,
    audit: record,
    clock,
    publish: (state) => {
      const before = snapshot;
      snapshot = { ...buildSnapshot(state, profiles, before), isStale };
      // The snapshot refuses new requests from here on; what is open ends in the same moment.
      for (const agent of state.cut)
        if (before?.agents.get(agent)?.isCut === false) endedByCut.set(agent, gateway.cut(agent));
      federation.follow(state.resources.all("FederatedTrustDomain"));
      postureSources.follow(state.resources.all("PostureSource"));
      identity?.reconsider();
      remoteAgents?.recheck();
      // What is open under conditions is decided again.
      facts.changed();
    },
  });
  const resources = () => plane.state.resources;
  identity = await IdentityDesk.open({
    ...{ config, storage, clock, log, audit: record, isStale, interception: authority.certificatePem },
    state: () => plane.state,
    federation,
  });
  const own =
    identity === undefined
      ? undefined
      : new OwnSvid({ issuer: identity.issuer, record: identity.record, hosts: hostsOf(config), clock, log });
  const knownSecrets = new KnownSecrets(vault);
  const approvals = await setUpApprovals({
    ...{ config, storage, vault, clock, log, audit: record, resources },
    runs: () => desk.processes,
  });
  // Ahead of the first request; where it fails, that request says so.
  void Promise.resolve(knownSecrets.matcher()).catch(() => {});
  gateway = new Gateway(
    {
      controlPlane: {
        get snapshot() {
          return snapshot!;
        },
      },
      credentials: credentialSource(vault, resources),
      knownSecrets,
      approvals: approvals.desk,
      audit: auditSink(audit),
      ledger: store.budgets,
      ...telemetry.observer,
      ...{ clock, facts },
      strictAudit: config.strictAudit,
      upstreamIdentity: own,
      upstreamLimits: { headersTimeout: config.answerTimeout, bodyIdleTimeout: config.silenceTimeout },
    },
    authority,
  );
  if (store.feed !== undefined)
    watch = followChanges(store.feed, knownEpochs, {
      ...{ plane, vault, keys, log, posture, issuer: identity?.issuer },
    });
  const vaultKeys = new VaultKeys(config, storage, { clock, audit: record });
  const runs = new Runs(join(dataFolder, "runs"), log);
  const desk = new RunDesk({
    runs,
    gateway,
    vault,
    authority,
    profiles,
    dataFolder,
    clock,
    workloads: identity,
    resources,
    audit: record,
  });

  const attestParts = {
    ...store,
    clock,
    state: () => plane.state,
    isStale,
    audit: record,
    identities: identity,
    federatedBundle: (name: string) => federation.get(name),
  };
  const isInRun = (pid: number): boolean => runs.list().some((run) => run.has(pid));
  if (identity !== undefined && config.workloadApiSocket !== undefined)
    await identity.serveNode(config.workloadApiSocket, isInRun);
  if (identity !== undefined && own !== undefined && config.brokers !== undefined)
    await identity.serveBrokers(config.brokers, own, isInRun);
  const bundleEndpoint =
    identity === undefined || own === undefined
      ? undefined
      : await openBundleEndpoint(config, identity, { own, log });
  const attestDesk = new AttestDesk(attestParts);

  const readiness = readinessOf(
    readinessProbes({
      ...{ audit, vault, knownSecrets, readDatabase: () => store.epochs() },
      ...(watch === undefined ? {} : { isStale }),
      ...(config.budgetUrl() === undefined ? {} : { readBudgets: () => store.budgets.read(["-"]) }),
    }),
  );
  const status = async (): Promise<StatusResponse> => ({
    ...(await readiness()),
    version: VERSION,
    pid: process.pid,
    epoch: plane.state.epoch,
    auditEntries: audit.size(),
    auditKey: formatVkey(audit.key),
    runs: desk.open,
    ...(remoteAgents === undefined ? {} : { gateway: remoteAgents.address }),
    ...(bundleEndpoint === undefined ? {} : { bundleEndpoint: bundleEndpoint.address }),
  });
  const routes = [
    ...identityRoutes(() => identity),
    ...budgetRoutes(() => budgetStates(snapshot!, store.budgets, clock)),
    ...approvalRoutes(approvals.ports),
    ...postureRoutes({
      list: () => posture.list(),
      put: (report, { pid, uid }) =>
        posture.put(report, { uid, objection: objectionToAgent(pid, desk.processes) }),
    }),
    ...operatorRoutes({
      apply: (request, operator) => plane.apply(request, operator),
      deleteResource: (kind, name, operator) => plane.delete(kind, name, operator),
      listResources: () => listResources(plane, desk),
      setSecret: async (name, secret, operator) => {
        const time = clock.now();
        // Written first: a log that cannot be written leaves the vault as it is.
        await record(
          secretChangeEvent({ id: newId(time), time, change: "set", name, operatorUid: operator.uid }),
        );
        const done = await vault.setSecret(name, secret);
        return done.ok ? ok({ name, version: done.value.version }) : refuse(done.reason.detail);
      },
      deleteSecret: async (name, operator) => {
        const user = [...resources().all("CredentialProvider"), ...resources().all("PostureSource")].find(
          ({ spec }) => spec.secret === name,
        );
        if (user !== undefined)
          return refuse(`secret ${name} is used by ${user.kind} \`${user.metadata.name}\``);
        const time = clock.now();
        await record(
          secretChangeEvent({ id: newId(time), time, change: "delete", name, operatorUid: operator.uid }),
        );
        const done = await vault.deleteSecret(name);
        return done.ok ? ok(undefined) : refuse(done.reason.detail);
      },
      listSecrets: async () =>
        (await vault.listSecrets()).map(({ name, newestVersion, versions }) => ({
          name,
          version: newestVersion,
          updatedAt: new Date(versions.at(-1)?.createdAt ?? 0).toISOString(),
          versions: versions.map(({ version, createdAt }) => ({
            version,
            createdAt: new Date(createdAt).toISOString(),
          })),
        })),
      rotateKey: (reference, { uid }) => vaultKeys.rotate(reference, uid),
      acceptKey: (reference, { uid }) => vaultKeys.accept(reference, uid),
      backup: async (withMasterKey, operator) => {
        const time = clock.now();
        const name = withMasterKey ? "with-master-key" : "without-master-key";
        await record(
          resourceChangeEvent({
            ...{ id: newId(time), time, change: "create", resourceKind: "Backup", name },
            operatorUid: operator.uid,
          }),
        );
        return makeBackup({ dataFolder, storage, now: time, withMasterKey });
      },
      setAgentState: async (agent, change, reason, operator) => {
        endedByCut.delete(agent);
        const done = await plane.setAgentState(agent, change, reason, operator);
        if (!done.ok) return done;
        return ok({ agent, state: change === "cut" ? "cut" : "active", ended: endedByCut.get(agent) ?? 0 });
      },
      openRun: (request, operator) => desk.openRun(request, operator),
      makeJoinToken: (request, operator) => makeJoinToken(attestParts, request, operator),
      attest: (request, operator) => attestDesk.attest(request, operator),
      why: (id) => explainDecision(audit, plane.state, id),
      status,
      auditTail: (lines) => tailOf(audit, lines),
      onAudit: (listener) => audit.onAppend(({ bytes }) => listener(bytes)),
      auditExport: () => exportLog(audit),
      auditTiles: (folder) => exportTiles(audit, folder),
    }),
  ];
  const api = createApiServer(routes, operatorOf, log);
  remoteAgents = await openRemoteAgents({ config, identity, own, gateway, attestDesk, log });
  const controlSocket = await listenForOperators(api, dataFolder);
  await telemetry.serve({
    ...{ audit, readiness, snapshot: () => snapshot!, snapshotAge: () => watch?.age() ?? 0 },
    ...{
      openExchanges: () => gateway.openExchanges,
      connections: () => runs.connections + (remoteAgents?.connections ?? 0),
    },
    runs: () => desk.open.length,
    budgets: () => budgetStates(snapshot!, store.budgets, clock),
  });

  const stop = async (): Promise<void> => {
    api.close();
    api.closeAllConnections();
    runs.closeAll();
    remoteAgents?.close();
    approvals.close();
    own?.close();
    federation.close();
    postureSources.close();
    bundleEndpoint?.close();
    identity?.close();
    facts.close();
    gateway.close();
    await watch?.stop();
    await telemetry.stop();
    await closeLog(audit);
    await store.close();
    controlSocket.remove();
  };
  return { stop, status };
}

async function closeLog(audit: AuditLog): Promise<void> {
  try {
    await audit.append(serverStamp("stop")).durable;
  } finally {
    await audit.close();
  }
}

function serverStamp(change: "start" | "stop", notice?: string): AuditEvent {
  const time = clock.now();
  return serverEvent({ id: newId(time), time, change, version: VERSION, role: "all", notice });
}

// Node would open its inspector, which reads all memory, on a port that every account of the machine can reach.
process.on("SIGUSR1", () => {});
const config = readConfig(process.argv.slice(2));
await runProcess(config, (log) => {
  protectMemory();
  return start(config, log);
});
