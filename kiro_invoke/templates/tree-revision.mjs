// node tree-revision.mjs FOLDER [LEFT-OUT...]: prints the revision of a tree, a hash of what its files and links are.
// One record for each file and symbolic link, in bytewise order of the path: PATH NUL KIND VALUE NUL. KIND is
// f (file), x (executable file) or l (link), VALUE the content's SHA-256 or the link's text. Names are bytes.
// Names after FOLDER are left out where they stand at its top.
import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, readdirSync, readlinkSync, statSync } from "node:fs";

const slash = Buffer.from("/");
const nul = Buffer.from("\0");
const piece = Buffer.allocUnsafe(1 << 20);

function contentHash(path) {
  const hash = createHash("sha256");
  const file = openSync(path, "r");
  try {
    for (let size; (size = readSync(file, piece, 0, piece.length, null)) > 0; ) hash.update(piece.subarray(0, size));
  } finally {
    closeSync(file);
  }
  return hash.digest("hex");
}

function* records(folder, prefix, leftOut) {
  for (const entry of readdirSync(folder, { withFileTypes: true, encoding: "buffer" })) {
    if (leftOut.some((name) => name.equals(entry.name))) continue;
    const path = Buffer.concat([prefix, entry.name]);
    const place = Buffer.concat([folder, slash, entry.name]);
    if (entry.isDirectory()) yield* records(place, Buffer.concat([path, slash]), []);
    else if (entry.isSymbolicLink()) yield [path, "l", readlinkSync(place, { encoding: "buffer" })];
    else if (entry.isFile()) yield [path, statSync(place).mode & 0o111 ? "x" : "f", contentHash(place)];
  }
}

const [folder, ...leftOut] = process.argv.slice(2).map((text) => Buffer.from(text));
const revision = createHash("sha256");
for (const [path, kind, value] of [...records(folder, Buffer.alloc(0), leftOut)].sort((a, b) => a[0].compare(b[0])))
  revision.update(path).update(nul).update(kind).update(value).update(nul);
console.log(`kiro-revision-${revision.digest("hex")}`);
