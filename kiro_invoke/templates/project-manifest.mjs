// Writes to the folder argv[2] what an install can depend on: package.json and its lockfile without the
// keys that are known not to matter to it, and .npmrc. A key that is not known here stays: the slower path is
// the safe one. The order of the manifest's keys matters to nothing, and does not show. The project's own lifecycle
// scripts may read any file: `after-install` calls them, to be run where all files are.
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";

const ignored = [
  "version", "description", "keywords", "homepage", "bugs", "license", "author", "contributors", "maintainers",
  "funding", "files", "main", "module", "browser", "types", "typings", "exports", "imports", "type", "sideEffects",
  "repository", "publishConfig", "browserslist", "eslintConfig", "prettier", "stylelint", "jest", "babel", "nyc",
  "lint-staged", "husky", "commitlint", "//",
];
// In the order in which npm runs them. `npm run install` runs the other two of its line as well, and so on.
const lifecycle = [
  ["install", "preinstall", "postinstall"],
  ["prepublish"],
  ["prepare", "preprepare", "postprepare"],
];

function fail(sentence) {
  console.error(`kiro: ${sentence}`);
  process.exit(1);
}
function read(name) {
  try {
    return JSON.parse(readFileSync(name, "utf8").replace(/^\uFEFF/, ""));
  } catch (error) {
    return fail(`${name} cannot be read: ${error.message}`);
  }
}
function sorted(value) {
  if (Array.isArray(value) || value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, sorted(value[key])]));
}
const write = (name, value) => writeFileSync(`${process.argv[2]}/${name}`, JSON.stringify(value, null, 2) + "\n");

const lockfile = ["npm-shrinkwrap.json", "package-lock.json"].find((name) => existsSync(name));
if (!lockfile) fail("there is no package-lock.json beside package.json: run `npm install` and commit it");
const manifest = read("package.json");
const lock = read(lockfile);

const local = Object.entries(lock.packages ?? {}).find(
  ([path, entry]) => path && (!path.startsWith("node_modules/") || entry.link || /^file:/.test(entry.resolved ?? "")),
);
if (manifest.workspaces || local)
  fail(
    `${manifest.workspaces ? "package.json: workspaces" : `${lockfile}: "${local[0]}"`}: the install stage sees no ` +
      "folders and archives of the project; copy them in before its install, and take this check out",
  );
const scripts = manifest.scripts ?? {};
if (existsSync("binding.gyp") && !scripts.install && !scripts.preinstall)
  fail('binding.gyp: npm builds an addon of it; write that into package.json: "install": "node-gyp rebuild"');

for (const key of ignored) delete manifest[key];
Object.assign(manifest, { name: "app", version: "0.0.0" });
delete manifest.scripts;
const own = lifecycle.flat().filter((name) => scripts[name]);
manifest.lifecycle = Object.fromEntries(own.map((name) => [name, scripts[name]]));

lock.name = "app";
lock.version = "0.0.0";
const root = lock.packages?.[""];
if (root) {
  Object.assign(root, { name: "app", version: "0.0.0" });
  delete root.license;
}

mkdirSync(process.argv[2], { recursive: true });
write("package.json", sorted(manifest));
write(lockfile, lock);
if (existsSync(".npmrc")) copyFileSync(".npmrc", `${process.argv[2]}/.npmrc`);
const first = lifecycle.flatMap(([main, ...around]) => (scripts[main] ? [main] : around));
const called = first.filter((name) => scripts[name]);
writeFileSync(`${process.argv[2]}/after-install`, called.map((name) => `npm run ${name}\n`).join(""));
