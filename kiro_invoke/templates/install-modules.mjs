// node install-modules.mjs PLAN KEPT PLACE: installs what PLAN locks into PLACE/node_modules, as `npm ci` would.
// KEPT, a cache mount, holds the tree of the run before: it is brought up to date, which costs only what changed, and
// copied. On any doubt whether that comes to the same, `npm ci` itself runs. All doubts are sentences below.
import { execFileSync, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  copyFileSync, existsSync, lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync, realpathSync, renameSync,
  rmSync, writeFileSync,
} from "node:fs";
import { dirname, join, relative } from "node:path";
import { isDeepStrictEqual } from "node:util";

const [plan, kept, place] = process.argv.slice(2);
const lockfile = ["npm-shrinkwrap.json", "package-lock.json"].find((name) => existsSync(join(plan, name)));
const inputs = ["package.json", lockfile, ".npmrc"].filter((name) => existsSync(join(plan, name)));
const state = join(kept, "state.json"); // there only while KEPT is exactly what a run that came to its end left
const modules = "node_modules";

class Doubt extends Error {}
const doubt = (sentence) => {
  throw new Doubt(sentence);
};
const say = (sentence) => console.log(`kiro: ${sentence}`);
const bytes = (path) => (existsSync(path) ? readFileSync(path) : "");
const parsed = (path) => JSON.parse(readFileSync(path, "utf8"));
const names = (folder) => (existsSync(folder) ? readdirSync(folder) : []);
const copyTree = (from, to) => execFileSync("cp", ["-a", join(from, modules), to], { stdio: "inherit" });

function hash(parts) {
  const all = createHash("sha256");
  for (const part of parts) all.update(part).update("\0");
  return all.digest("hex");
}

// All that can make npm install other files though no dependency changed: if it changes, so may every package.
function surroundings() {
  const passing = /^(HOSTNAME|PWD|OLDPWD|SHLVL|_|NODE_EXTRA_CA_CERTS|(https?|ftp|all|no)_proxy)$/i;
  const env = Object.entries(process.env).filter(([name]) => !passing.test(name));
  const known = ["dependencies", "devDependencies", "optionalDependencies", "peerDependencies", "lifecycle"];
  const manifest = Object.entries(parsed(join(plan, "package.json"))).filter(([key]) => !known.includes(key));
  const { packages, dependencies, ...lock } = parsed(join(plan, lockfile));
  const npm = realpathSync(execFileSync("sh", ["-c", "command -v npm"], { encoding: "utf8" }).trim());
  return hash([
    process.version, process.arch, npm, bytes(join(dirname(npm), "../package.json")), bytes(process.argv[1]),
    JSON.stringify([lockfile, lock, manifest, env.sort()]), bytes(join(plan, ".npmrc")),
    bytes(join(process.env.HOME ?? "/root", ".npmrc")),
  ]);
}

// These only say where packages come from and what npm tells; others may change what a package's files become.
const harmless = new RegExp(
  "^(registry|@[^:]+:registry|//.+|always-auth|audit|fund|color|progress|loglevel|update-notifier|prefer-offline|" +
    "save-exact|save-prefix|fetch-.+|maxsockets|noproxy|proxy|https?-proxy|strict-ssl|ca|cafile|engine-strict|" +
    "legacy-peer-deps)$",
);

function checkSettings() {
  const lines = bytes(join(plan, ".npmrc")).toString().split("\n").map((line) => line.trim());
  const keys = lines.filter((line) => line && !/^[;#]/.test(line)).map((line) => line.split("=")[0].trim());
  for (const name of Object.keys(process.env))
    if (/^npm_config_/i.test(name)) keys.push(name.slice(11).toLowerCase().replaceAll("_", "-"));
  const other = keys.find((key) => !harmless.test(key));
  if (other) doubt(`the setting ${other} of npm may change what is installed`);
}

const fits = (list, own) => {
  const all = [list ?? []].flat();
  const wanted = all.filter((name) => !name.startsWith("!"));
  return !all.includes(`!${own}`) && (!wanted.length || wanted.includes(own) || wanted.includes("any"));
};
const foreign = ({ os, cpu }) => !fits(os, process.platform) || !fits(cpu, process.arch);

// Whether the tree in `folder` is what the lockfile says, by npm's own list in the tree: each package is there as
// locked or may be left out, no other is, none came in a way that one package's files do not tell.
// Returns the optional packages that are not there.
function checkTree(folder) {
  const locked = parsed(join(plan, lockfile)).packages ?? doubt(`${lockfile} has an old format`);
  const list = join(folder, modules, ".package-lock.json");
  const held = existsSync(list) ? parsed(list).packages : {};
  for (const [path, entry] of Object.entries(held)) {
    const own = locked[path] ?? doubt(`${path} is not in ${lockfile}`);
    for (const key of ["version", "integrity", "bin", "name", "hasInstallScript"])
      if (!isDeepStrictEqual(entry[key], own[key])) doubt(`${path} has not the locked ${key}`);
    if (entry.hasInstallScript) doubt(`${path} runs scripts when it is installed, and they may write anywhere`);
    if (entry.inBundle || !entry.integrity) doubt(`${path} came in another package or has no checksum`);
  }
  const absent = Object.entries(locked).filter(([path]) => path && !held[path]);
  for (const [path, entry] of absent) if (!entry.optional) doubt(`${path} is missing`);
  checkFolders(folder, Object.entries(held));
  return absent.filter(([, entry]) => !foreign(entry)).map(([path]) => path);
}

// Nothing but packages' folders and the links to their programs may be where packages are.
function checkFolders(folder, held) {
  const levels = new Map([[modules, [[], new Map()]]]);
  for (const [path] of held) levels.set(`${path}/${modules}`, [[], new Map()]);
  for (const [path, { bin }] of held) {
    const level = path.slice(0, path.lastIndexOf(`${modules}/`) + modules.length);
    const [packages, programs] = levels.get(level) ?? doubt(`${path} is in a package that is not there`);
    packages.push(path.slice(level.length + 1));
    for (const [name, target] of Object.entries(bin ?? {})) {
      if (programs.has(name)) doubt(`two packages in ${level} have a program ${name}`);
      programs.set(name, relative(join(level, ".bin"), join(path, target)));
    }
  }
  for (const [level, [packages, programs]] of levels) {
    const here = join(folder, level);
    const scoped = (name) => names(join(here, name)).map((each) => `${name}/${each}`);
    const inScope = (name) => (name.startsWith("@") ? scoped(name) : [name]);
    const known = new Set([...packages, ".bin", ".package-lock.json"]);
    const stray = names(here).flatMap(inScope).find((name) => !known.has(name));
    if (stray) doubt(`${level}/${stray} is no package`);
    const links = names(join(here, ".bin")).map((name) => [name, readlinkSync(join(here, ".bin", name))]);
    for (const [name, target] of programs) if (!existsSync(join(here, ".bin", target))) programs.delete(name);
    if (!isDeepStrictEqual(new Map(links), programs)) doubt(`${level}/.bin is not what its packages say`);
  }
}

// What the tree is made of, without reading it: no write leaves a file's change time as it was.
function stamp() {
  const lines = [];
  const walk = (folder) => {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      const path = join(folder, entry.name);
      const { mode, size, mtimeMs, ctimeMs } = lstatSync(path);
      lines.push([path, mode, ...(entry.isDirectory() ? [] : [size, mtimeMs, ctimeMs])].join(" "));
      if (entry.isDirectory()) walk(path);
    }
  };
  walk(join(kept, modules));
  return hash(lines.sort());
}

// Runs npm in `folder` on copies of PLAN's files, which are gone afterwards; the status that it ended with.
function npm(folder, ...argv) {
  for (const name of inputs) copyFileSync(join(plan, name), join(folder, name));
  const quiet = ["--prefer-offline", "--no-audit", "--no-fund"];
  const { status } = spawnSync("npm", [...argv, ...quiet], { cwd: folder, stdio: "inherit" });
  const changed = inputs.find((name) => !readFileSync(join(plan, name)).equals(bytes(join(folder, name))));
  for (const name of inputs) rmSync(join(folder, name), { force: true });
  if (status === 0 && changed) doubt(`${changed} changed during the install`);
  return status;
}

function remember(around, missing) {
  writeFileSync(`${state}.new`, JSON.stringify({ around, missing, locked, stamp: stamp() }));
  renameSync(`${state}.new`, state);
}

const locked = hash(inputs.map((name) => bytes(join(plan, name))));

function update(around) {
  const before = existsSync(state) ? parsed(state) : doubt("nothing is kept of a run that came to its end");
  rmSync(state);
  if (before.around !== around) doubt("Node, npm, the environment or a setting changed");
  if (before.stamp !== stamp()) doubt("the kept tree changed since");
  const upToDate = before.locked === locked || npm(kept, "install", "--no-save", "--ignore-scripts") === 0;
  if (!upToDate) doubt("npm could not bring the kept tree up to date");
  const missing = checkTree(kept);
  const left = missing.find((path) => !before.missing.includes(path));
  if (left) doubt(`${left} was left out`);
  copyTree(kept, place);
  remember(around, missing);
}

function installAnew(around) {
  for (const name of names(kept)) rmSync(join(kept, name), { recursive: true });
  const status = npm(place, "ci");
  if (status !== 0) process.exit(status ?? 1);
  mkdirSync(join(place, modules), { recursive: true });
  try {
    checkSettings();
    const missing = checkTree(place);
    copyTree(place, kept);
    remember(around, missing);
  } catch (error) {
    // what is installed is right all the same; what is kept is nothing without its note, and would only take room
    for (const name of names(kept)) rmSync(join(kept, name), { recursive: true, force: true });
    say(`${error instanceof Doubt ? "every" : "the next"} install will be a clean one: ${error.message}`);
  }
}

const around = surroundings();
try {
  update(around);
} catch (error) {
  say(`clean install: ${error.message}`);
  try {
    installAnew(around);
  } catch (trouble) {
    if (!(trouble instanceof Doubt)) throw trouble;
    say(trouble.message);
    process.exit(1);
  }
}
