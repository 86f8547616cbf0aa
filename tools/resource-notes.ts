// SPDX-License-Identifier: Apache-2.0
/** What does each field of each resource mean? One sentence each, for `docs/resources.md`. */

export const KIND_NOTES: Readonly<Record<string, string>> = {
  FederatedTrustDomain:
    "Somebody else's SPIFFE trust domain: where its trust bundle is read, and who must answer there. See [federation](guides/identity.md#federation).",
  TrustProvider:
    "Which evidence about a workload is believed, and from whom: see [trust providers](guides/trust-providers.md).",
  Agent: "An AI agent: which facts make a process this agent.",
  ServerWorkload:
    "An API that agents call: its hosts, how a credential is placed, what its operations are called.",
  CredentialProvider: "Where a credential comes from, and to which server workloads it may ever be sent.",
  AccessCondition:
    "What must hold at the time of a request, for policies that name it: see [conditions](guides/policies.md#conditions). Where nobody can tell whether it holds, it does not.",
  Approver:
    "A person who may say yes to what policies ask about. Whoever has two ways to say yes is still one person.",
  AccessPolicy:
    "Which agents may call what on one server workload, with which credential. Compiles to Cedar. Nothing is allowed that no policy allows.",
  Budget:
    "How much of what may be used in a period, and by whom. All budgets that count a request must have room for it: see [budgets](guides/budgets.md).",
  PriceList:
    "What models cost, for budgets that count dollars. Brought up to date by applying it again: see [budgets](guides/budgets.md#prices).",
  PostureSource:
    "Who is asked how workloads and machines are, for conditions of kind `posture`. What it says is said under the name of the resource: see [posture](guides/posture.md).",
};

export const FIELD_NOTES: Readonly<Record<string, string>> = {
  "metadata.name": "The name, one per kind: lower-case letters, digits and inner hyphens, 1 to 63.",
  "metadata.description": "Free text for people. Not encrypted: write no secret here.",
  "TrustProvider.kind":
    "`process`: the kernel names the process behind each connection. `docker`, `podman`: so it does, and the engine says which container the process is in. The others are issuers of tokens; `oidc` is any issuer.",
  "TrustProvider.engineSocket":
    "`docker`, `podman`: the socket of the engine's API. Only containers are asked about; the socket must be the engine's own, because what it says is believed.",
  "TrustProvider.issuer":
    "Who signs, exactly as in the claim `iss`. `oidc` and `kubernetes` need it; the public one for `github-actions`, `gitlab` and `terraform-cloud` where absent. `aws-iam`: the account's own, for tokens of `GetWebIdentityToken`.",
  "TrustProvider.jwks":
    "`kubernetes`: the cluster's key set as text, where its issuer cannot be reached; without `apiServer`.",
  "TrustProvider.apiServer":
    "`kubernetes`: asked for every token whether the token, its pod and its service account are still there. Without it deleted pods pass until their token expires.",
  "TrustProvider.apiServer.url": "Where it is; an IP address may stand here if its certificate has it.",
  "TrustProvider.apiServer.tokenFile":
    "File with Postern's own token for it, read each time. It may create `tokenreviews` and get `pods`.",
  "TrustProvider.apiServer.connectTo": "The same as `connectTo` of the issuer, for the API server.",
  "TrustProvider.apiServer.connectTo.address": "An IP address.",
  "TrustProvider.apiServer.connectTo.port": "A port.",
  "TrustProvider.apiServer.allowedNetworks":
    "The same as `allowedNetworks` of the issuer, for the API server; a cluster's own is mostly at a private address.",
  "TrustProvider.apiServer.caCertificates":
    "PEM certificates that are trusted for it; the cluster's `ca.crt`.",
  "TrustProvider.sigstore":
    "`kubernetes`, which needs `apiServer` for it, `docker`, `podman`: what signatures of the images prove, too: see [signatures of images](guides/image-signatures.md).",
  "TrustProvider.sigstore.registries": "Registries that may be asked; images of others prove nothing.",
  "TrustProvider.sigstore.registries.host":
    "As images name it, with a port where they have one: `ghcr.io`, `docker.io`.",
  "TrustProvider.sigstore.registries.url":
    "Where it is asked, if not at `https://HOST`; `https://registry-1.docker.io` for `docker.io`.",
  "TrustProvider.sigstore.registries.tokenUrl":
    "Where its tokens come from, if not from the registry itself; `https://auth.docker.io/token` for `docker.io`. No other place gets a password.",
  "TrustProvider.sigstore.registries.redirectHosts":
    "Hosts that it may redirect to, where it keeps what it stores elsewhere. They get no credential.",
  "TrustProvider.sigstore.registries.credentialFile":
    "A Docker configuration file with `auths` for the host; read each time. Absent: without a password.",
  "TrustProvider.sigstore.registries.connectTo":
    "Connect there instead of resolving the registry's host. TLS still verifies the host's name.",
  "TrustProvider.sigstore.registries.connectTo.address": "An IP address.",
  "TrustProvider.sigstore.registries.connectTo.port": "A port.",
  "TrustProvider.sigstore.registries.allowedNetworks":
    "Special-purpose networks (loopback, private …) that it, its tokens and its redirects may be in.",
  "TrustProvider.sigstore.registries.caCertificates":
    "PEM certificates that are trusted for it, its tokens and its redirects instead of the system's.",
  "TrustProvider.sigstore.trustedRoot":
    "A Sigstore `trusted_root.json` as text: whose certificates, logs and timestamps count. Needed for certificates and for `requireLog`.",
  "TrustProvider.sigstore.signers": "Who is believed. Nobody else's signature proves anything.",
  "TrustProvider.sigstore.signers.name":
    "Value of `sigstore:signed-by` and `sigstore:attested-by`. Several may have one name: any of them is enough.",
  "TrustProvider.sigstore.signers.predicates":
    "Predicate types of attestations that this signer is believed; none where absent.",
  "TrustProvider.sigstore.signers.identity":
    "Subject alternative name of the certificate, exactly. This, `identityPattern` or `publicKey` is needed.",
  "TrustProvider.sigstore.signers.identityPattern":
    "The same with `*` for any run of characters; the whole must match. The owner must be written out.",
  "TrustProvider.sigstore.signers.issuer":
    "Who told the certificate authority who it is, exactly. Needed with an identity.",
  "TrustProvider.sigstore.signers.repositoryId":
    "Id of the source repository, as the certificate states it; a name may be given to somebody else.",
  "TrustProvider.sigstore.signers.ownerId": "Id of the owner of the source repository, likewise.",
  "TrustProvider.sigstore.signers.publicKey":
    "PEM of a public key instead of an identity: ECDSA, Ed25519, or RSA from 2048 bits.",
  "TrustProvider.sigstore.signers.requireLog":
    "`publicKey`: whether a signature must also be in a log of `trustedRoot`.",
  "TrustProvider.trustDomain": "`spiffe`: somebody else's trust domain, whose SVIDs count. Needed.",
  "FederatedTrustDomain.trustDomain":
    "Its name. Never this server's own, and of one FederatedTrustDomain only.",
  "FederatedTrustDomain.endpointUrl": "Where its bundle is published.",
  "FederatedTrustDomain.profile":
    "`https_web`: the endpoint has a certificate of the Web. `https_spiffe`: it has an X.509-SVID.",
  "FederatedTrustDomain.endpointSpiffeId":
    "`https_spiffe`: the SPIFFE ID that the endpoint must have, exactly; needed.",
  "FederatedTrustDomain.bundle":
    "The bundle as it is now, as text, until another one was read. Needed with `https_spiffe` where the endpoint is in the trust domain itself.",
  "FederatedTrustDomain.maxAge":
    "Seconds without word from the endpoint after which the bundle is believed no longer.",
  "FederatedTrustDomain.connectTo":
    "Connect there instead of resolving the endpoint's host. TLS still verifies who answers.",
  "FederatedTrustDomain.connectTo.address": "An IP address.",
  "FederatedTrustDomain.connectTo.port": "A port.",
  "FederatedTrustDomain.allowedNetworks":
    "Special-purpose networks (loopback, private, link-local …) that the endpoint may be in. Without them such addresses are refused after DNS.",
  "FederatedTrustDomain.caCertificates":
    "`https_web`: PEM certificates that are trusted for the endpoint instead of the system's.",
  "TrustProvider.federatedTrustDomain":
    "`spiffe`: name of a FederatedTrustDomain of that name, whose bundle is kept up to date; with it X.509-SVIDs count, too.",
  "TrustProvider.bundle":
    "`spiffe`: its trust bundle as text. Exactly one of `federatedTrustDomain`, `bundle` and `bundleUrl` is needed.",
  "TrustProvider.bundleUrl":
    "`spiffe`: where its trust bundle is published (profile `https_web`); read anew every five minutes.",
  "TrustProvider.ownerIds":
    "`github-actions`: ids of the users and organizations whose repositories count. Needed.",
  "TrustProvider.namespaceIds":
    "`gitlab`: ids of the groups and users that projects must be directly in. Needed.",
  "TrustProvider.organizationIds": "`terraform-cloud`: ids of the organizations that count. Needed.",
  "TrustProvider.accountIds":
    "`aws-iam`, `aws-ec2`: the accounts whose roles, users and instances count. Needed.",
  "TrustProvider.regions":
    "`aws-iam`: regions whose STS may be asked about signed requests; this or `issuer` is needed. `aws-ec2`: regions whose certificates count; needed.",
  "TrustProvider.certificates":
    "`aws-ec2`: region → PEM certificate, for regions that are newer than this version of Postern.",
  "TrustProvider.maxDocumentAge":
    "`aws-ec2`: seconds after its start in which an instance can be attested, once.",
  "TrustProvider.allowRsa1024":
    "`aws-ec2`: also take `{document, signature}` with an RSA-1024 signature. Weak: for instances that cannot ask for the other.",
  "TrustProvider.projectIds":
    "`gcp`: projects whose virtual machines count. This or `serviceAccountIds` is needed; where both are there, both must hold.",
  "TrustProvider.serviceAccountIds": "`gcp`: unique ids of the service accounts that count.",
  "TrustProvider.tenantId": "`azure`: id of the one directory whose tokens count. Needed.",
  "TrustProvider.tokenVersion": "`azure`: 1 for managed identities, 2 for applications that ask for it.",
  "TrustProvider.mapping":
    "`oidc`: name of a fact → claim that it is read from, by name, or by JSON pointer where it starts with a slash.",
  "TrustProvider.algorithms": "`oidc`: signature algorithms that are taken.",
  "TrustProvider.singleUse": "`oidc`: whether each token counts once, by its `jti`.",
  "TrustProvider.audience":
    "What tokens must be made for, and for nothing else: a name that only Postern uses. Needed by every kind but `process`, `docker`, `podman`, `join-token` and `aws-ec2`.",
  "TrustProvider.conditions": "What every token must say, whoever the agent is.",
  "TrustProvider.conditions.claim":
    "A claim by name, or by JSON pointer where it starts with a slash, such as `/kubernetes.io/namespace`.",
  "TrustProvider.conditions.oneOf": "Values, one of which it must have; of a list one entry.",
  "TrustProvider.maxTokenLifetime":
    "Seconds from `iat` to `exp` that a token may live; for `join-token`, in which it can be used. 600 for `join-token`, 3600, a day for `gitlab` and `kubernetes`, 25 hours for `terraform-cloud` and `azure`, where absent.",
  "TrustProvider.connectTo":
    "Connect there instead of resolving the issuer's host. TLS still verifies the host's name.",
  "TrustProvider.connectTo.address": "An IP address.",
  "TrustProvider.connectTo.port": "A port.",
  "TrustProvider.allowedNetworks":
    "Special-purpose networks (loopback, private, link-local …) that the issuer may be in. Without them such addresses are refused after DNS.",
  "TrustProvider.caCertificates": "PEM certificates that are trusted for the issuer instead of the system's.",
  "Agent.trustProvider": "Name of a TrustProvider.",
  "Agent.federatesWith":
    "Names of FederatedTrustDomains whose bundles the Workload API hands it, besides that of its own trust domain.",
  "Agent.selectors":
    "Facts that must all hold, compared exactly: see [selectors](guides/trust-providers.md#selectors). Two agents must not have the same ones.",
  "Agent.spiffeId":
    "The SPIFFE ID that it gets, in the trust domain of `--trust-domain`: see [identity](guides/identity.md). `{kind.key}` stands for the value of the selector `kind:key=value`, such as `{process.uid}`. Without it the agent gets none. No two agents may come to the same ID.",
  "Agent.owner":
    "Who answers for it: the name of an Approver or one of its identities, who may not approve what this agent does; or any text. Budgets can be given to it, such as a team.",
  "Agent.purpose": "What it is for. For people.",
  "Agent.expiresAt": "From this instant on the agent is refused.",
  "ServerWorkload.profile":
    "What is known of this kind of API: `openai`, `anthropic`, `gemini`, or `http` for any other.",
  "ServerWorkload.hosts":
    "Exact host names as DNS has them: lower case, ASCII (`xn--…` for others), no port, no trailing dot, no address, and no wildcard, because a credential is bound to exact hosts. The profile's own where absent; `http` needs them. A name without a dot, and `localhost`, need `connectTo`. No two server workloads share a host and port.",
  "ServerWorkload.port": "The port of the API. Always TLS. The same host at another port is another API.",
  "ServerWorkload.injection":
    "How the credential is placed; the profile's own where absent. `http` needs it.",
  "ServerWorkload.injection.kind":
    "`bearer`: `Authorization: Bearer`. `header`: a header. `basic`: as the password of Basic authentication. `query`: a query parameter. `path`: in the path, in place of a word.",
  "ServerWorkload.injection.name": "For `header` and `query`: its name.",
  "ServerWorkload.injection.value": "For `header`: the value, with `{secret}` in it exactly once.",
  "ServerWorkload.injection.username": "For `basic`: the user name before the secret.",
  "ServerWorkload.injection.placeholder":
    "For `path`: the word that the agent writes where the secret belongs.",
  "ServerWorkload.operations": "Named operations, besides those of the profile; policies refer to them.",
  "ServerWorkload.operations.name": "The name that policies use.",
  "ServerWorkload.operations.method": "The HTTP method, in upper case.",
  "ServerWorkload.operations.path":
    "The path, without query. `{word}` stands for a part of one segment, one at most between `/` and `:`; `{model}` is also the model that policies see.",
  "ServerWorkload.connectTo":
    "Connect there instead of resolving the host. TLS still verifies the host's name.",
  "ServerWorkload.connectTo.address": "An IP address.",
  "ServerWorkload.connectTo.port": "A port.",
  "ServerWorkload.allowedNetworks":
    "Special-purpose networks (loopback, private, link-local …) that this API may be in. Without them every address is refused, after DNS, that is not ordinary public unicast by IANA's registries.",
  "ServerWorkload.caCertificates": "PEM certificates that are trusted for this API instead of the system's.",
  "ServerWorkload.clientIdentity":
    "`svid`: the gateway shows its own X.509-SVID, `spiffe://TRUST-DOMAIN/postern/gateway`, where the API asks for a certificate. A credential is injected all the same.",
  "ServerWorkload.serverSpiffeId":
    "The SPIFFE ID that the API's certificate must prove, in the server's own trust domain. The names in the certificate, and authorities of the Web, count no more then.",
  "CredentialProvider.kind": "`vault`: a secret of Postern's own encrypted vault.",
  "CredentialProvider.secret": "The name that was given to `postern secret set`. It must be set before.",
  "CredentialProvider.serverWorkloads":
    "Server workloads that it may be sent to. It is never sent anywhere else.",
  "AccessCondition.kind":
    "`time`: when it is. `region`: where the caller is. `attested`: what is known of it. `delegation`: in whose name it acts. `request`: what it asks for. `configuration`: system prompt and tools. `runtime`: how confined it runs. `posture`: how healthy it is, by the word of who looked.",
  "AccessCondition.zone": "`time`: IANA name of the time zone whose clocks count.",
  "AccessCondition.weekdays": "`time`: `monday` to `sunday`; every day where absent.",
  "AccessCondition.hours":
    "`time`: spans such as `09:00-17:00`, the end not included; `22:00-06:00` goes over midnight and belongs to the day on which it begins.",
  "AccessCondition.from": "`time`: the first day on which it can hold.",
  "AccessCondition.until": "`time`: the last day on which it can hold.",
  "AccessCondition.holidays": "`time`: days on which it does not hold.",
  "Approver.identities":
    "How the person is recognised: `uid:NUMBER`, an account that may open the operators' socket, or `slack:TEAM/MEMBER`, the ids of a Slack workspace and of a member of it. One belongs to one person only.",
  "Budget.appliesTo": "Which requests it counts. Every field that is there must hold.",
  "Budget.appliesTo.agents": "Names of agents.",
  "Budget.appliesTo.owners": "Teams: agents with one of these as `spec.owner`.",
  "Budget.appliesTo.serverWorkloads": "Names of server workloads.",
  "Budget.appliesTo.models": "Names of models, exactly.",
  "Budget.appliesTo.policies": "Names of access policies, one of which allowed the request.",
  "Budget.appliesTo.everything": "Every request. Stands alone.",
  "Budget.per": "A counter for each of these, instead of one for all of them together.",
  "Budget.period":
    "Of the calendar: minutes and hours are those of UTC, days and months those of `timeZone`. Each begins with everything left.",
  "Budget.timeZone": "A name of the IANA database, such as `Europe/Berlin`.",
  "Budget.limits": "How much there is in one period. At least one.",
  "Budget.limits.requests": "Requests that were sent to the server workload, whatever it answered.",
  "AccessCondition.of":
    "`region`: whose place it is about, the `caller` or the `machine` of this server. A process of this machine is where the machine is.",
  "AccessCondition.countries": "`region`: codes of ISO 3166-1, such as `DE`; needs `--geoip-file`.",
  "AccessCondition.continents": "`region`: `AF`, `AN`, `AS`, `EU`, `NA`, `OC`, `SA`; needs `--geoip-file`.",
  "AccessCondition.networks": "`region`: networks that the address is in, such as `10.1.0.0/16`.",
  "AccessCondition.selectors":
    "`region`: facts that the gateway knows of the caller and that name a region, such as `spiffe:id=spiffe://corp/eu-central-1/agent`; one is enough.",
  "AccessCondition.allOf": "`attested`: facts about the caller that must all be attested, compared exactly.",
  "AccessCondition.anyOf": "`attested`: facts of which one must be attested.",
  "AccessCondition.noneOf":
    "`attested`: facts that must not be. Another value of the same name must be attested: who shows nothing does not pass.",
  "AccessCondition.anyOfPatterns":
    "`attested`: more for `anyOf`, in whose value `*` stands for any run of characters.",
  "AccessCondition.noneOfPatterns": "`attested`: more for `noneOf`, with `*` in the value.",
  "AccessCondition.minDepth": "`delegation`: the fewest hands it must have come through.",
  "AccessCondition.maxDepth":
    "`delegation`: the most hands it may have come through; 0 is the agent in its own name.",
  "AccessCondition.subjects": "`delegation`: in whose name it may act, exactly.",
  "AccessCondition.operations": "`request`: names of operations.",
  "AccessCondition.models": "`request`: names of models, exactly.",
  "AccessCondition.modelPatterns": "`request`: models; `*` stands for any run of characters.",
  "AccessCondition.methods": "`request`: HTTP methods.",
  "AccessCondition.paths": "`request`: paths, exactly, without query.",
  "AccessCondition.pathPatterns": "`request`: paths; `*` stands for any run of characters, slashes too.",
  "AccessCondition.body": "`request`: values of the JSON body that must all be so.",
  "AccessCondition.systemPrompt":
    "`configuration`: digests that the system prompt may have; `none` where there may be none.",
  "AccessCondition.tools": "`configuration`: digests that the definitions of tools may have, together.",
  "AccessCondition.capabilities":
    "`runtime`: capabilities that it may have at most; an empty list means none.",
  "AccessCondition.noNewPrivileges": "`runtime`: it can gain no rights by starting other programs.",
  "AccessCondition.seccomp": "`runtime`: its system calls are filtered.",
  "AccessCondition.readOnlyRoot": "`runtime`: the root of its file system cannot be written.",
  "AccessCondition.ownNamespaces": "`runtime`: namespaces that it must not share with this server.",
  "AccessCondition.maxMemoryBytes":
    "`runtime`: its control group, or one above it, may take no more memory than this.",
  "AccessCondition.maxProcesses":
    "`runtime`: its control group, or one above it, may have no more processes than this.",
  "AccessCondition.facts":
    "`posture`: what must have been reported of the caller or its machine, and hold still.",
  "AccessCondition.facts.name": "Name of the fact, such as `edr.healthy`.",
  "AccessCondition.facts.equals": "The value, exactly.",
  "AccessCondition.facts.min": "The least number.",
  "AccessCondition.facts.max": "The greatest number.",
  "AccessCondition.sources": "`posture`: whose word counts; everybody's where absent.",
  "AccessCondition.maxAge": "`posture`: seconds since it was seen, at most, whatever its source says.",
  "AccessCondition.body.pointer": "JSON pointer (RFC 6901), such as `/temperature`.",
  "AccessCondition.body.equals": "The value, exactly: type, and every character as it is sent.",
  "AccessCondition.body.in": "Values of which it must be one.",
  "AccessCondition.body.min": "The least number.",
  "AccessCondition.body.max": "The greatest number.",
  "AccessCondition.body.absent": "It must not be there.",
  "AccessCondition.body.orAbsent": "It may also not be there.",
  "Budget.limits.tokens": "Input and output tokens together.",
  "Budget.limits.inputTokens": "Input tokens, cached ones included.",
  "Budget.limits.outputTokens": "Output tokens, thoughts included.",
  "Budget.limits.dollars":
    "US dollars, by the PriceLists; up to six decimals. A request whose price is not known is refused.",
  "Budget.assumeOutputTokens":
    "Output tokens that are reserved where neither the request nor a PriceList says how many there can be. Without it such a request is refused.",
  "PriceList.version": "Of the list, for people.",
  "PriceList.date": "The day for which somebody has checked the prices.",
  "PriceList.source": "Where they were read.",
  "PriceList.serverWorkloads": "Names of the server workloads that have these prices.",
  "PriceList.models": "Models and their prices in US dollars for a million tokens, up to six decimals.",
  "PriceList.models.names": "The model as requests name it, exactly; every alias is one more name.",
  "PriceList.models.input": "Input that is neither read from a cache nor written to one.",
  "PriceList.models.output": "Output.",
  "PriceList.models.cachedInput": "Input read from a cache; as `input` where absent.",
  "PriceList.models.cacheWrite": "Input written to a cache; as `input` where absent.",
  "PriceList.models.reasoning": "Thoughts; as `output` where absent.",
  "PriceList.models.maxOutputTokens":
    "What one answer can hold at most: reserved where a request sets no limit.",
  "PriceList.models.maxInputTokens":
    "The context window: reserved where a request brings in text from elsewhere.",
  "PriceList.models.hiddenReasoning":
    "It thinks without showing it, so a stream that reports no usage is charged with what was reserved.",
  "PriceList.models.longInput": "Other prices of requests with much input.",
  "PriceList.models.longInput.above": "With more input tokens than this.",
  "PriceList.models.longInput.input": "As above.",
  "PriceList.models.longInput.output": "As above.",
  "PriceList.models.longInput.cachedInput": "As above.",
  "PriceList.models.longInput.cacheWrite": "As above.",
  "AccessPolicy.agents": "Names of agents.",
  "AccessPolicy.serverWorkload": "Name of one server workload.",
  "AccessPolicy.credentialProvider": "Name of the credential provider; needed where something is allowed.",
  "AccessPolicy.allow":
    "What is allowed. Every field that is there must hold; within a field one entry is enough. `allow` or `cedar` is needed.",
  "AccessPolicy.allow.operations": "Names of operations.",
  "AccessPolicy.allow.models": "Names of models, exactly.",
  "AccessPolicy.allow.modelPatterns": "Models; `*` stands for any run of characters.",
  "AccessPolicy.allow.methods": "HTTP methods.",
  "AccessPolicy.allow.paths": "Paths, exactly, without query.",
  "AccessPolicy.allow.pathPatterns": "Paths; `*` stands for any run of characters, slashes too.",
  "AccessPolicy.allow.everything": "Everything that this server workload offers. Stands alone.",
  "AccessPolicy.conditions":
    "Names of AccessConditions that must all hold for whatever this policy permits. What it forbids, it forbids without them.",
  "AccessPolicy.mode":
    "`enforce`, which is meant where it is absent, or `dry-run`: decided and recorded, and not enforced. See [try a policy first](guides/policies.md#try-a-policy-first).",
  "AccessPolicy.cedar":
    "Raw Cedar policies, `permit` and `forbid`: see [raw Cedar](guides/policies.md#raw-cedar). A `forbid` wins over every `permit`.",
  "AccessPolicy.approval":
    "What of it a person has to say yes to first: see [approvals](guides/approvals.md). It holds back what is allowed, also by another policy.",
  "AccessPolicy.approval.approvers": "Names of Approvers, who may say yes.",
  "AccessPolicy.approval.needed": "How many different persons have to.",
  "AccessPolicy.approval.for":
    "The part for which somebody is asked; everything where absent. Every field must hold, and within a field one entry is enough.",
  "AccessPolicy.approval.for.operations": "Names of operations.",
  "AccessPolicy.approval.for.models": "Names of models, exactly.",
  "AccessPolicy.approval.for.modelPatterns": "Models; `*` stands for any run of characters.",
  "AccessPolicy.approval.for.methods": "HTTP methods.",
  "AccessPolicy.approval.for.paths": "Paths, exactly, without query.",
  "AccessPolicy.approval.for.pathPatterns": "Paths; `*` stands for any run of characters, slashes too.",
  "AccessPolicy.approval.when":
    "`always`, or `first-use`: until this agent has been let do this operation once under this policy.",
  "AccessPolicy.approval.ownerMayApprove": "Whether the `owner` of the agent may say yes.",
  "AccessPolicy.approval.wait":
    "Seconds for which the agent's request is held before it is told to try again.",
  "AccessPolicy.approval.expiresAfter": "Seconds after which a question that nobody answered is over.",
  "AccessPolicy.approval.validFor": "Seconds for which a yes can be used.",
  "AccessPolicy.approval.uses": "How often the approved request may be sent.",
  "AccessPolicy.approval.unless":
    "Names of AccessConditions. Where all of them hold nobody is asked; where one is not met, or nobody can tell, somebody is.",
  "AccessPolicy.approval.asksPerHour":
    "Questions of the agent that persons are asked within an hour, under whichever policies; further ones are refused.",
  "AccessPolicy.approval.grants":
    "How far a person may say yes ahead; without it every request is asked for.",
  "AccessPolicy.approval.grants.longest": "Seconds that a grant may last.",
  "AccessPolicy.approval.grants.mostUses": "Uses that a grant may have.",
  "PostureSource.kind":
    "`crowdstrike`: the Falcon API. `wiz`: the GraphQL API of Wiz. `report`: whoever answers in Postern's own format.",
  "PostureSource.url": "Where it is asked. `crowdstrike`: `https://api.crowdstrike.com` where absent.",
  "PostureSource.tokenUrl": "`wiz`: where its token comes from.",
  "PostureSource.clientId": "`crowdstrike`, `wiz`: whom it knows this server as.",
  "PostureSource.secret":
    "Name of the secret: the client's, or for `report` a bearer token. It is sent to `url`, for `wiz` to `tokenUrl`, and nowhere else.",
  "PostureSource.subject":
    "`crowdstrike`, `wiz`: about whom an entry is, such as `spiffe:id=spiffe://corp/instances/{instance_id}`; `{…}` stands for a member of the entry. Entries without it, and two entries about the same, say nothing.",
  "PostureSource.filter": "`crowdstrike`: which hosts, in Falcon Query Language.",
  "PostureSource.types": "`wiz`: which types of cloud resources; `VIRTUAL_MACHINE` where absent.",
  "PostureSource.every": "Seconds between two questions.",
  "PostureSource.validFor": "Seconds for which an answer holds from when it was seen.",
  "PostureSource.connectTo":
    "Connect here instead of resolving the host. TLS still verifies the host's name.",
  "PostureSource.connectTo.address": "An IP address.",
  "PostureSource.connectTo.port": "A port.",
  "PostureSource.allowedNetworks":
    "Special-purpose networks (loopback, private …) that it may be in; none where absent.",
  "PostureSource.caCertificates": "PEM certificates trusted for it instead of the system's.",
};
