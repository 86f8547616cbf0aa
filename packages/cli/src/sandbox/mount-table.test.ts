// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "vitest";
import { aliasesOf, parseMountTable, strayKernelMounts } from "./mount-table.ts";

const TABLE = String.raw`27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
22 27 0:21 / /proc rw - proc proc rw
50 27 254:0 /home /mnt/homes rw shared:3 - ext4 /dev/vda rw
51 27 254:0 /home/me/my\040data /srv/with\040space rw - ext4 /dev/vda rw
52 27 254:16 / /home/other rw - ext4 /dev/vdb rw
53 27 0:21 / /chroot/proc rw - proc proc rw
54 27 0:30 / /chroot/cgroup rw - cgroup2 cgroup2 rw
55 27 254:0 /home/me-too /mnt/too rw - ext4 /dev/vda rw
garbage
`;

describe("the mount table", () => {
  const mounts = parseMountTable(TABLE);

  test("names bind mounts that show a hidden folder under another path", () => {
    expect(aliasesOf("/home/me/my data", mounts)).toEqual(["/mnt/homes/me/my data", "/srv/with space"]);
  });

  test("finds the aliases of a folder below a bind mount's root, and of a path given through a bind mount", () => {
    expect(aliasesOf("/srv/with space/runs", mounts)).toEqual([
      "/home/me/my data/runs",
      "/mnt/homes/me/my data/runs",
    ]);
  });

  test("a folder on another device, and one whose name only begins the same, are not aliases", () => {
    expect(aliasesOf("/home/other/x", mounts)).toEqual([]);
    expect(aliasesOf("/home/me", mounts)).toEqual(["/mnt/homes/me"]);
  });

  test("finds kernel interfaces at unusual places", () => {
    expect(strayKernelMounts(mounts)).toEqual({ hide: ["/chroot/proc"], readOnly: ["/chroot/cgroup"] });
  });
});
