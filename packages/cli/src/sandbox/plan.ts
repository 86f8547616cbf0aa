// SPDX-License-Identifier: Apache-2.0
/** What does a sandboxed start consist of, and what do the command line and the entry program tell each other? */

/** How the agent is walled off. `none` walls off nothing: the agent runs as the user does. */
export type IsolationMode = "bubblewrap" | "util-linux" | "none";

/** What the entry program is told, as one JSON text on file descriptor 3; never in arguments or environment. */
export interface EntrySpec {
  /** Absent only while `detectIsolation` tries the sandbox out. */
  readonly launch?: {
    /** Path of the run's launch socket. */
    readonly socket: string;
    readonly token: string;
    /** Port of the gate on 127.0.0.1; 0 lets the kernel choose. */
    readonly port: number;
  };
  /** The agent's whole environment. */
  readonly env: Readonly<Record<string, string>>;
  /** Names of those variables in which `{port}` becomes the port of the gate; the user's own stay as they are. */
  readonly gateVariables?: readonly string[];
  readonly cwd: string;
  /** Command and arguments, at least one. */
  readonly command: readonly string[];
}

export interface SandboxPlan {
  readonly mode: IsolationMode;
  /** Absolute paths: directories become empty, files become empty. The data folder comes first. */
  readonly hidePaths: readonly string[];
  /** Absolute paths that the agent may read and not change; those that do not exist are left out. */
  readonly readOnlyPaths?: readonly string[];
  /** Stays visible, read-only, at the same path even when it lies in a hidden folder. */
  readonly runFolder?: string;
  readonly spec: EntrySpec;
}

/** Added by `startSandboxed`: what the entry program does itself in each mode. */
export interface EntryOrders {
  readonly spec: EntrySpec;
  readonly mode: IsolationMode;
  /** Present in `util-linux` mode: the entry program builds the view of the file system. */
  readonly view?: FilesystemView;
  /** Identity that the agent gets back in `util-linux` mode without root. */
  readonly restoreIdentity?: {
    readonly uid: number;
    readonly gid: number;
    readonly programs: { readonly unshare: string; readonly setpriv: string };
  };
}

/** How the sandbox's file system differs from the real one. All paths are real (no symbolic links). */
export interface FilesystemView {
  /**
   * Folders above all that is hidden or protected, outermost first. Made mount points, which cannot be renamed:
   * otherwise what is hidden at its path could be moved to another and found there by the next run.
   */
  readonly anchors: readonly string[];
  readonly hideFolders: readonly string[];
  readonly hideFiles: readonly string[];
  readonly readOnly: readonly string[];
  readonly runFolder?: string;
  readonly devices: readonly string[];
}

/** What the entry program answers on file descriptor 3, a JSON line each. */
export type EntryReport =
  | { readonly launched: { readonly pid: number; readonly port: number } }
  | { readonly failed: { readonly code: number; readonly message: string } };
