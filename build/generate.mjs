// Writes the server-side sources (.lua, .sql) of each engine and transport into one TypeScript module beside them, so that
// the library reads no files when it runs. A folder `shared` holds parts that others include, and gets no module.
// `npm run generate` writes; `npm run check` refuses a module that is out of date.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const ROOT = fileURLToPath(new URL('..', import.meta.url))
const INCLUDE = /^--- @include "([\w./-]+)"$/gm

/** The module of each folder below src that holds .lua or .sql files: its path from the root, and its text. */
export function generated() {
  const folders = new Map()
  for (const entry of readdirSync(join(ROOT, 'src'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(lua|sql)$/.test(entry.name)) continue
    if (basename(entry.parentPath) === 'shared') continue
    const names = folders.get(entry.parentPath) ?? []
    folders.set(entry.parentPath, [...names, entry.name])
  }
  return [...folders].map(([folder, names]) => ({
    path: relative(ROOT, join(folder, 'generated.ts')),
    text: moduleOf(folder, names.sort()),
  }))
}

/** The modules that differ from what the sources would give. */
export function outdated() {
  return generated().filter(({ path, text }) => {
    const file = join(ROOT, path)
    return !existsSync(file) || readFileSync(file, 'utf8') !== text
  })
}

function moduleOf(folder, names) {
  const lines = names.map((name) => {
    const text = included(join(folder, name), new Set())
    return `  ${JSON.stringify(name)}: ${JSON.stringify(text)},`
  })
  return [
    '// Made by build/generate.mjs from the files beside this one: edit those, then run `npm run generate`.',
    '// biome-ignore-all format: made by a program',
    '// biome-ignore-all lint: made by a program',
    'export const SOURCES = {',
    ...lines,
    '} as const',
    '',
  ].join('\n')
}

/** A file with each `--- @include "other"` replaced by that file, at most once. */
function included(file, seen) {
  seen.add(file)
  return readFileSync(file, 'utf8').replace(INCLUDE, (_line, name) => {
    const other = join(dirname(file), name)
    return seen.has(other) ? '' : included(other, seen).trimEnd()
  })
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const { path, text } of outdated()) {
    writeFileSync(join(ROOT, path), text)
    console.log(`wrote ${path}`)
  }
}
