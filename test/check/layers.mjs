// Checks the layers of src and bin: which folder may import which, that no imports form a circle, and which
// packages a layer may load.

import { builtinModules } from 'node:module'
import { posix } from 'node:path'
import { importsOf } from './imports.mjs'
import { manifest, read, sources } from './tools.mjs'

// A folder imports itself and the folders of earlier rows. Folders of one row do not import each other.
const ROWS = [
  ['base'],
  ['values'],
  ['signing', 'contract'],
  ['drivers', 'rules'],
  ['engines', 'transports'],
  ['engines/open', 'transports/open'],
  ['tasks'],
  ['dispatch'],
  ['results', 'schedule', 'batch', 'publish', 'requests', 'client'],
  ['worker'],
  ['observe', 'deferq'],
  ['bridge', 'http', 'dashboard'],
  ['index'],
  ['demo'],
  ['cli'],
  ['bin'],
]
// Exceptions to the rows: what these folders may import instead.
const ONLY = {
  engines: ['base', 'values', 'signing', 'contract', 'drivers'],
  transports: ['base', 'values', 'signing', 'contract', 'drivers'],
  conformance: ['base', 'values', 'signing', 'contract'],
}
// These two name the engines and the transports; every other folder gets one from them.
const SEAMS = ['engines/open', 'transports/open']
// The entries of the package, and the command line, may name an engine or a transport.
const NAMES_ENGINES = ['index', 'cli', 'demo', 'bin', ...SEAMS]
// Lazy imports that point to a later row: a webhook is a request, and most dispatches have none.
const UPWARD = [['src/dispatch/draft.ts', 'src/requests/webhook.ts']]
// Folders that may load an optional package.
const PEERS = ['drivers', 'engines', 'transports', 'requests', 'bridge', 'http', 'dashboard', 'cli', 'demo']
// Absent in some versions of Node: loaded lazily, like an optional package.
const LAZY = ['node:sqlite']

export function checkLayers() {
  const { dependencies = {}, peerDependencies = {} } = manifest()
  const packages = { own: Object.keys(dependencies), lazy: [...Object.keys(peerDependencies), ...LAZY] }
  const wrong = []
  const graph = importGraph()
  for (const [file, imports] of graph) {
    if (layerOf(file) === undefined)
      wrong.push(`${file}: no layer is known for it. Give its folder one in test/check/layers.mjs.`)
    for (const found of imports) {
      const reason = found.to === undefined ? judgePackage(file, found, packages) : judge(file, found)
      if (reason !== undefined) wrong.push(`${file}:${found.line}: ${reason}`)
    }
  }
  return [...wrong, ...circles(graph).map((circle) => `circle of imports: ${circle.join(' → ')}`)]
}

/** Every source file with its imports; `to` is the file that a relative import names. */
export function importGraph() {
  return new Map(
    [...sources('src'), ...sources('bin')].map((file) => [
      file,
      importsOf(read(file)).map((found) =>
        found.from.startsWith('.')
          ? { ...found, to: posix.join(posix.dirname(file), found.from) }
          : { ...found, to: undefined },
      ),
    ]),
  )
}

/** Groups of files that import each other, type imports included: the strongly connected components (Tarjan). */
export function circles(graph) {
  const seen = new Map()
  const stack = []
  const found = []
  let counter = 0
  const visit = (file) => {
    const node = { index: counter, low: counter, onStack: true }
    counter++
    seen.set(file, node)
    stack.push(file)
    for (const { to } of graph.get(file) ?? []) {
      if (to === undefined || !graph.has(to) || isUpward(file, to)) continue
      const next = seen.get(to)
      if (next === undefined) node.low = Math.min(node.low, visit(to).low)
      else if (next.onStack) node.low = Math.min(node.low, next.index)
    }
    if (node.low === node.index) {
      const group = stack.splice(stack.indexOf(file))
      for (const member of group) seen.get(member).onStack = false
      if (group.length > 1) found.push(group.sort())
    }
    return node
  }
  for (const file of graph.keys()) if (!seen.has(file)) visit(file)
  return found
}

function judge(file, { from, to, kind }) {
  if (!/\.(ts|lua|sql)$/.test(from)) return `'${from}' lacks its file ending`
  const layer = layerOf(file)
  const target = layerOf(to)
  if (target === undefined) return `'${from}' lies outside of the layers`
  if (kind === 'lazy' && isUpward(file, to)) return undefined
  if (layer === target) {
    return isShelf(layer) && unitOf(file) !== unitOf(to)
      ? `${unitOf(file)} must not import ${unitOf(to)}: move what both need to contract or drivers`
      : undefined
  }
  if (isShelf(target) && NAMES_ENGINES.includes(layer)) return undefined
  if (isShelf(target) && layer !== 'conformance')
    return `only ${SEAMS.join(' and ')} name an engine or a transport`
  const only = ONLY[layer]
  const allowed = only === undefined ? rowOf(target) < rowOf(layer) : only.includes(target)
  return allowed ? undefined : `${layer} must not import ${target}`
}

function judgePackage(file, { from, kind }, packages) {
  const layer = layerOf(file)
  const name = from
    .split('/')
    .slice(0, from.startsWith('@') ? 2 : 1)
    .join('/')
  if (packages.lazy.includes(name)) {
    if (!PEERS.includes(layer)) return `${layer} must not import the optional '${name}'`
    if (kind === 'value')
      return `'${name}' is optional: load it with "await import('${from}')", or only its types with "import type"`
    return undefined
  }
  if (name.startsWith('node:')) return undefined
  if (builtinModules.includes(name)) return `write 'node:${from}'`
  if (layer === 'conformance') return `conformance imports node: and the contract alone, not '${name}'`
  if (packages.own.includes(name)) return undefined
  return `'${name}' is no dependency of package.json`
}

const isUpward = (file, to) => UPWARD.some(([source, target]) => source === file && target === to)
const isShelf = (layer) => layer === 'engines' || layer === 'transports'
const rowOf = (layer) => ROWS.findIndex((row) => row.includes(layer))
// The one engine or transport that a file belongs to: src/engines/redis/settle.ts → engines/redis.
const unitOf = (file) => file.split('/').slice(1, 3).join('/').replace(/\.ts$/, '')

function layerOf(file) {
  if (file.startsWith('bin/')) return 'bin'
  const [, first, second] = file.split('/')
  if (second === undefined)
    return first === 'index.ts' || first === 'deferq.ts' ? first.slice(0, -3) : undefined
  if (second === 'open.ts' && isShelf(first)) return `${first}/open`
  return first === 'conformance' || rowOf(first) >= 0 ? first : undefined
}
