// Reads the import lines of src and bin, and says which of them break the layers of the library.

import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import { manifest, read, sources } from './tools.mjs'

// Who may import whom. A file that has no layer is refused, so that each new folder is placed on purpose.
const CORE = ['base', 'contract', 'core', 'ready']
const LAYERS = {
  base: { may: ['base'], mayTypesOf: ['contract'] },
  contract: { may: ['base'] },
  // How a client library is loaded and a server reached: what an engine and a transport of one server share.
  driver: { may: ['base'], mayTypesOf: ['contract'], peers: true },
  engine: { may: ['base', 'contract', 'driver'], peers: true },
  transport: { may: ['base', 'contract', 'driver'], peers: true },
  open: { may: ['base', 'contract', 'engine', 'transport'] },
  core: { may: [...CORE, 'open'] },
  // Tasks that come with the library. They belong to the core, and may load a client library when they are run.
  ready: { may: [...CORE, 'open'], peers: true },
  around: { may: [...CORE, 'open', 'transport'], peers: true },
  index: { may: [...CORE, 'open', 'transport', 'around'] },
  testing: { may: ['base', 'contract'], packages: false },
  top: {
    may: [...CORE, 'open', 'engine', 'driver', 'transport', 'around', 'index', 'testing', 'top'],
    peers: true,
  },
}
const BASE = [
  'alarm',
  'bag',
  'task',
  'checks',
  'checks-contention',
  'errors',
  'fingerprint',
  'time',
  'value',
  'decode',
  'heap',
  'hot-keys',
  'node-crypto',
  'signature',
]
// Besides the contract itself, what wraps any engine.
const CONTRACT = ['engine', 'run', 'endings', 'offload', 'keyed', 'parts']
const FOLDERS = {
  worker: 'core',
  http: 'around',
  dashboard: 'around',
  schedule: 'core',
  rules: 'core',
  batch: 'core',
  requests: 'ready',
  drivers: 'driver',
  bridge: 'around',
  testing: 'testing',
  cli: 'top',
  demo: 'top',
}
// Absent in most installations, so they may only be loaded when they are needed.
const LAZY = ['node:sqlite']

export function checkLayers() {
  const { dependencies = {}, peerDependencies = {} } = manifest()
  const packages = { own: Object.keys(dependencies), lazy: [...Object.keys(peerDependencies), ...LAZY] }
  return [...sources('src'), ...sources('bin')].flatMap((file) => {
    if (!layerOf(file))
      return [`${file}: no layer is known for it; give its folder one in test/check/layers.mjs`]
    return importsOf(read(file)).flatMap((found) => {
      const wrong = judge(file, found, packages)
      return wrong ? [`${file}:${found.line}: ${wrong}`] : []
    })
  })
}

function judge(file, found, packages) {
  const from = layerOf(file)
  const rules = LAYERS[from.layer]
  if (!found.from.startsWith('.')) return judgePackage(from, rules, found, packages)
  if (!/\.ts$/.test(found.from)) return `'${found.from}' lacks the ending .ts`
  const path = posix.join(posix.dirname(file), found.from)
  const to = layerOf(path)
  if (!to) return `'${found.from}' lies outside of the layers`
  if (to.unit === from.unit) return undefined
  if (to.layer === 'engine' && from.layer === 'engine')
    return `one engine imports another (${from.unit} → ${to.unit}); what they share belongs to the contract`
  if (to.layer === 'engine' && !rules.may.includes('engine'))
    return `only src/engines/open.ts names an engine, ${from.name} must not import ${path}`
  if (found.kind === 'type' && rules.mayTypesOf?.includes(to.layer)) return undefined
  if (!rules.may.includes(to.layer)) return `${from.name} must not import ${to.name} ('${found.from}')`
  return undefined
}

function judgePackage(from, rules, found, packages) {
  const name = found.from
    .split('/')
    .slice(0, found.from.startsWith('@') ? 2 : 1)
    .join('/')
  if (packages.lazy.includes(name)) {
    if (!rules.peers) return `${from.name} must not import the optional '${name}'`
    if (found.kind === 'value')
      return `'${name}' is optional: load it with "await import('${found.from}')", or only its types with "import type"`
    return undefined
  }
  if (name.startsWith('node:')) return undefined
  if (builtinModules.includes(name)) return `write 'node:${found.from}'`
  if (rules.packages === false) return `${from.name} imports node: and the contract alone, not '${name}'`
  if (packages.own.includes(name)) return undefined
  return `'${name}' is no dependency of package.json`
}

// `unit` is what may freely import within itself: an engine's folder, a folder around the core.
function layerOf(file) {
  const place = (layer, unit = layer, name = unit) => ({ layer, unit, name })
  if (file.startsWith('bin/')) return place('top', 'bin')
  if (!file.startsWith('src/')) return undefined
  const [first, second] = file.slice(4).split('/')
  if (second === undefined) {
    const stem = first.replace(/\.ts$/, '')
    if (BASE.includes(stem)) return place('base', 'base', `src/${first}`)
    if (CONTRACT.includes(stem)) return place('contract', 'contract', `src/${first}`)
    if (stem === 'index') return place('index', 'index', 'src/index.ts')
    return place('core', 'core', 'the core')
  }
  if (first === 'engines') {
    if (second === 'open.ts') return place('open', 'open', 'src/engines/open.ts')
    // memory.ts, memory-store.ts and memory/… are one engine.
    return place('engine', `engines/${second.split(/[-.]/)[0]}`)
  }
  if (first === 'transports') {
    // The contract, and the one way in which all of them wait and part what is large.
    if (['transport.ts', 'waiting.ts', 'parcels.ts'].includes(second))
      return place('contract', 'contract', `src/transports/${second}`)
    // open.ts names them all, lazily; the others are one each.
    if (second === 'open.ts') return place('open', 'src/transports/open.ts')
    return place('transport', `transports/${second.split(/[-.]/)[0]}`)
  }
  const layer = FOLDERS[first]
  return (
    layer && place(layer, layer === 'core' ? 'core' : first, layer === 'core' ? 'the core' : `src/${first}`)
  )
}

/** Every import of a source: kind 'value', 'type' or 'lazy', what it names, and its line. */
function importsOf(text) {
  const code = withoutComments(text)
  const found = []
  const add = (match, kind, from) =>
    found.push({ kind, from, line: code.slice(0, match.index).split('\n').length })
  for (const match of code.matchAll(
    /^[ \t]*(?:import|export)\s+(type\s+(?!from\b|,))?(?:[\w$*{][^'"`;=()]*?\bfrom\s*)?(['"])([^'"\n]+)\2/gm,
  )) {
    add(match, match[1] ? 'type' : 'value', match[3])
  }
  // In a type, import('x') stands after "typeof", or is followed by the name of the type.
  for (const match of code.matchAll(/(typeof\s+)?\bimport\s*\(\s*(['"`])([^'"`]+)\2\s*\)(\s*\.\s*[A-Z])?/g)) {
    add(match, match[1] || match[4] ? 'type' : 'lazy', match[3])
  }
  return found
}

// Blanks comments and keeps the lines. Strings and templates are passed over, for they may hold '//' or "import 'x'";
// a template's content is blanked, so that code within text counts as text.
function withoutComments(text) {
  return text.replace(
    /\/\*[\s\S]*?\*\/|\/\/[^\n]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|`(?:\\[\s\S]|[^`\\])*`/g,
    (part) => (/^['"]/.test(part) || /^`[^\n$]*`$/.test(part) ? part : part.replace(/[^\n]/g, ' ')),
  )
}
