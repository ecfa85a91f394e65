// Checks that what npm would publish is what package.json promises, and nothing besides.
import { existsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { manifest, ROOT, read, run } from './tools.mjs'

const WANTED =
  /^(package\.json|README\.md|CHANGELOG\.md|LICENSE|docs\/[\w-]+\.md|examples\/[\w.-]+\.ts|dist\/(src|bin)\/.+\.(js|d\.ts))$/

export async function checkPackage() {
  // Without scripts: prepack would build once more, under the feet of the steps that read dist.
  const { code, stdout, stderr } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'])
  if (code !== 0) return [`npm pack ended with ${code}: ${stderr}`]
  const packed = new Set(JSON.parse(stdout)[0].files.map((file) => file.path))
  const { exports, bin, files } = manifest()
  const wrong = checkLock(JSON.parse(read('package-lock.json')).packages)

  for (const [where, path] of targets(exports, 'exports')) {
    if (!packed.has(path.replace(/^\.\//, '')))
      wrong.push(`${where} names ${path}, which is not in the package`)
  }
  for (const [name, path] of Object.entries(bin)) {
    if (!packed.has(path)) wrong.push(`bin.${name} names ${path}, which is not in the package`)
    else wrong.push(...checkProgram(name, path))
  }
  for (const entry of files) {
    if (![...packed].some((path) => path === entry || path.startsWith(`${entry}/`)))
      wrong.push(`files names ${entry}, which is not there`)
  }
  for (const path of packed) {
    if (!WANTED.test(path)) wrong.push(`${path} would be published, and nobody needs it`)
    else if (path.endsWith('.d.ts') && !existsSync(join(ROOT, sourceOf(path))))
      wrong.push(`${path} would be published, but its source is gone: build anew`)
  }
  return wrong
}

// npm leaves out a platform's optional package when a mirror lacks it, and then its own `npm ci` refuses the file.
function checkLock(locked) {
  const nested = (at, name) => `${at}/node_modules/${name}` in locked || `node_modules/${name}` in locked
  return Object.entries(locked).flatMap(([at, { optionalDependencies = {} }]) =>
    Object.keys(optionalDependencies)
      .filter((name) => !nested(at, name))
      .map((name) => `package-lock.json lacks ${name}, optional for ${at}: npm ci would refuse to install`),
  )
}

function checkProgram(name, path) {
  const wrong = []
  if (!read(path).startsWith('#!/usr/bin/env node\n'))
    wrong.push(`bin.${name}: ${path} lacks its first line "#!/usr/bin/env node"`)
  if (process.platform !== 'win32' && !(statSync(join(ROOT, path)).mode & 0o111))
    wrong.push(`bin.${name}: ${path} is not executable`)
  return wrong
}

function targets(value, where) {
  if (typeof value === 'string') return [[where, value]]
  return Object.entries(value ?? {}).flatMap(([key, inner]) => targets(inner, `${where}["${key}"]`))
}

function sourceOf(path) {
  return path.slice('dist/'.length).replace(/\.d\.ts$/, '.ts')
}
