import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, onTestFinished, test } from "vitest";

const project = join(import.meta.dirname, "../..");

/** What script/setup would ask apt-get for on a machine that has these programs and no others. */
async function askedFor(programs: readonly string[]): Promise<string[]> {
  const directory = await mkdtemp(join(tmpdir(), "ql-setup-"));
  onTestFinished(() => rm(directory, { recursive: true }));
  for (const program of ["apt-get", ...programs]) await symlink("/bin/true", join(directory, program));
  const program = `source script/setup; apt_install() { printf '%s\\n' "$@"; }; PATH=$1; install_podman`;
  const { stdout } = await promisify(execFile)("bash", ["-c", program, "-", directory], { cwd: project });
  return stdout.split("\n").filter((name) => name !== "");
}

// The keys are files, at one place on every machine.
const keys = existsSync("/usr/share/keyrings/debian-archive-keyring.gpg") ? [] : ["debian-archive-keyring"];

test.each([
  {
    there: [],
    missing: ["podman", "runc", "mmdebstrap", "uidmap", "gpg"],
    why: "a bare Debian",
  },
  {
    there: ["docker", "runc", "podman", "newuidmap", "gpg"],
    missing: ["mmdebstrap"],
    why: "Docker's own runc stays: Debian's would remove Docker",
  },
  {
    there: ["podman", "runc", "mmdebstrap", "gpg"],
    missing: ["uidmap"],
    why: "it is only recommended by Podman",
  },
  {
    there: ["podman", "runc", "mmdebstrap", "newuidmap", "gpg"],
    missing: [],
    why: "all is there",
  },
])("for the image it installs $missing where $there are there: $why", async ({ there, missing }) => {
  expect(await askedFor(there)).toEqual([...missing, ...keys]);
});
