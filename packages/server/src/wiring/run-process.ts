// SPDX-License-Identifier: Apache-2.0
/** How does the server's process begin and end, and where do its log and its last words go? */
import type { StatusResponse } from "@postern/contract";
import type { Config } from "../config/config.ts";
import { systemClock as clock } from "../kernel/clock.ts";
import { faultFields, jsonLog, type Log } from "../kernel/log.ts";
import { LineWriter, writeAll } from "./line-writer.ts";

export interface RunningServer {
  stop(): Promise<void>;
  status(): Promise<StatusResponse>;
}

/** Milliseconds for which the last lines of the log are waited for. */
const LAST_WORDS = 1000;

/** Returns when the server runs; it ends with the process, on the first signal. */
export async function runProcess(config: Config, start: (log: Log) => Promise<RunningServer>): Promise<void> {
  const lines = new LineWriter(
    (text) => writeAll(2, text),
    (count) => log.write("warn", "lines of the log are missing: nobody read them in time", { count }),
  );
  const log: Log = jsonLog(lines.line, clock.now, config.logLevel);
  const exit = async (code: number): Promise<never> => {
    await lines.flush(LAST_WORDS);
    process.exit(code);
  };
  // Node would print the words of the error, whatever they quote.
  process.on("uncaughtException", (error) => {
    log.write("error", "the server failed and ends", faultFields(error));
    void exit(1);
  });
  try {
    const server = await start(log);
    endWithSignals(server, exit);
    process.stdout.write(
      config.json
        ? `${JSON.stringify(await server.status())}\n`
        : `postern is ready: data folder ${config.dataFolder}\n`,
    );
  } catch (error) {
    lines.line(`postern: ${error instanceof Error ? error.message : String(error)}\n`);
    await exit(1);
  }
}

function endWithSignals(server: RunningServer, exit: (code: number) => Promise<never>): void {
  let isStopping = false;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
    process.on(signal, () => {
      if (isStopping) return;
      isStopping = true;
      server.stop().then(
        () => exit(0),
        () => exit(1),
      );
    });
}
