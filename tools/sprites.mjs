// Turns the artwork of pinned npm packages into sprites:
//
//     node tools/sprites.mjs <cache folder> [study]
//
// writes <cache>/sprites/<style>/<name>.webp|png for every subject of artwork.json in every style
// of pretraining, and for every concept in its own; with "study" for the concepts of mos study,
// which nothing is trained on, and the subjects in one style that stand in their scenes. The
// packages go to <cache>/packages. Sprites that are there already are left alone, and when all are,
// npm is not called at all.
import { spawn } from "node:child_process";
import { once } from "node:events";
import fs from "node:fs";
import path from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const SIDE = 192; // pixels of a rasterised SVG; pictures are 128 wide
const tools = path.dirname(fileURLToPath(import.meta.url));

async function run(command, args, { input, cwd } = {}) {
  const child = spawn(command, args, { cwd, stdio: ["pipe", "inherit", "inherit"] });
  const exit = once(child, "exit"); // rejects when the command is not there
  child.stdin.end(input ?? "");
  const [code] = await exit;
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}`);
}

/// Every sprite that artwork.json asks for: where it goes and what it is drawn from.
function wanted(folder, isStudy) {
  const artwork = JSON.parse(fs.readFileSync(path.join(tools, "artwork.json"), "utf8"));
  const sprite = (style, name, source) => ({
    style,
    source,
    file: path.join(folder, style, `${name}.${style === "fluent" ? "webp" : "png"}`),
  });
  const ofConcepts = (concepts) =>
    Object.entries(concepts).map(([name, { style, source }]) => sprite(style, name, source));
  const subjectsIn = (style) =>
    Object.entries(artwork.subjects).map(([name, source]) => sprite(style, name, source));
  // Scenes have a subject of the world in some of their pictures.
  if (isStudy) return [...subjectsIn("fluent"), ...ofConcepts(artwork.study)];
  return [...artwork.styles.flatMap(subjectsIn), ...ofConcepts(artwork.concepts)];
}

async function installPackages(folder) {
  fs.mkdirSync(folder, { recursive: true });
  for (const name of ["package.json", "package-lock.json"]) {
    fs.copyFileSync(path.join(tools, name), path.join(folder, name));
  }
  const quiet = ["--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"];
  await run("npm", ["ci", ...quiet], { cwd: folder });
  return path.join(folder, "node_modules");
}

/// Names in artwork packages leave out the variation selector now and then.
const spellings = (codePoints) => [codePoints, codePoints.replaceAll("-fe0f", "")];

function fluentFile(modules, codePoints) {
  const assets = path.join(modules, "@lobehub/fluent-emoji-3d/assets");
  const found = spellings(codePoints)
    .map((spelling) => path.join(assets, `${spelling}.webp`))
    .find((file) => fs.existsSync(file));
  if (!found) throw new Error(`no 3D artwork for ${codePoints}`);
  return found;
}

/// The icon set of a style, where it has another name.
const setOf = (style) => (style === "flat" ? "fluent-emoji-flat" : style);

const iconSets = new Map();

function iconSvg(modules, style, codePoints) {
  if (!iconSets.has(style)) {
    const read = (name) =>
      JSON.parse(fs.readFileSync(path.join(modules, "@iconify-json", setOf(style), name), "utf8"));
    iconSets.set(style, { icons: read("icons.json"), chars: read("chars.json") });
  }
  const { icons, chars } = iconSets.get(style);
  const id = spellings(codePoints).map((spelling) => chars[spelling]).find(Boolean);
  const icon = icons.icons[id] ?? icons.icons[icons.aliases?.[id]?.parent];
  if (!icon) throw new Error(`no ${style} artwork for ${codePoints}`);
  const width = icon.width ?? icons.width ?? 16;
  const height = icon.height ?? icons.height ?? 16;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" ` +
    `viewBox="0 0 ${width} ${height}">${icon.body}</svg>`
  );
}

async function avatarSvg(modules, { style, seed }) {
  const load = (name) => import(pathToFileURL(path.join(modules, "@dicebear", name, "lib/index.js")));
  const [{ createAvatar }, design] = await Promise.all([load("core"), load(style)]);
  return createAvatar(design, { seed }).toString();
}

/// Writes one sprite in one step, so that an interrupted run leaves no half file.
async function writeSprite(modules, { style, source, file }) {
  const partial = `${file}.part`;
  if (style === "fluent") {
    fs.copyFileSync(fluentFile(modules, source), partial);
  } else {
    const svg =
      style === "dicebear"
        ? await avatarSvg(modules, source)
        : iconSvg(modules, style, source);
    await run("rsvg-convert", ["-w", SIDE, "-h", SIDE, "-o", partial], { input: svg });
  }
  fs.renameSync(partial, file);
}

async function main() {
  const [cache, part, ...others] = process.argv.slice(2);
  if (!cache || (part && part !== "study") || others.length > 0) {
    console.error("usage: node tools/sprites.mjs <cache folder> [study]");
    return 2;
  }
  const folder = path.join(path.resolve(cache), "sprites");
  const all = wanted(folder, part === "study");
  const missing = all.filter(({ file }) => !fs.existsSync(file));
  if (missing.length > 0) {
    const modules = await installPackages(path.join(path.resolve(cache), "packages"));
    for (const sprite of missing) {
      fs.mkdirSync(path.dirname(sprite.file), { recursive: true });
      await writeSprite(modules, sprite);
    }
  }
  console.error(`${all.length} sprites in ${folder}, ${missing.length} of them new`);
  return 0;
}

main().then(
  (code) => process.exit(code),
  (error) => {
    console.error(`sprites: ${error.message}`);
    process.exit(3);
  },
);
