// Prints figures about the structure of the source: `npm run check -- --figures`.
import { readFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { circles, importGraph } from './layers.mjs'
import { ROOT, read, sources } from './tools.mjs'

const MOST_LINES = 300

export function printFigures() {
  const graph = importGraph()
  const files = [...sources('src', /\.(ts|lua|sql)$/)].filter((file) => !file.endsWith('/generated.ts'))
  const library = files.filter((file) => !file.startsWith('src/conformance/'))
  const lines = (list) => list.reduce((sum, file) => sum + linesOf(file), 0)
  const core = reach(graph, ['src/deferq.ts', 'src/worker/worker.ts'])
  const rows = [
    ['files that lie flat in src/', files.filter((file) => file.split('/').length === 2).length],
    ['import circles (type imports count)', circles(graph).length],
    [`source files over ${MOST_LINES} lines`, library.filter((file) => linesOf(file) > MOST_LINES).length],
    ['base names used by two files or more', shared(library)],
    ['files loaded by a dispatch and a worker (core)', core.size],
    ...['memory', 'postgres', 'sqlite', 'composed', 'redis'].map((engine) => [
      `files beside them: ${engine}`,
      [...reach(graph, [`src/engines/${engine}/index.ts`])].filter((file) => !core.has(file)).length,
    ]),
    ['methods of the contract (Engine)', methodsOf('src/contract/engine.ts', 'Engine')],
    ['methods of the contract (Maintenance)', methodsOf('src/contract/maintenance.ts', 'Maintenance')],
    ['flat methods of DeferQ', publicMethods('src/deferq.ts')],
    ['comment sentences that begin with What, Whoever …', openings(files)],
    ...clocks(files),
    ['source lines without the conformance suite', lines(library)],
    ['source lines of the conformance suite', lines(files) - lines(library)],
  ]
  const width = Math.max(...rows.map(([name]) => name.length))
  for (const [name, value] of rows) console.log(`${name.padEnd(width)}  ${value}`)
}

const linesOf = (file) => read(file).trimEnd().split('\n').length

/** The files that these load at once: value imports, followed to the end. */
function reach(graph, from) {
  const found = new Set()
  const open = [...from]
  for (let file = open.pop(); file !== undefined; file = open.pop()) {
    if (found.has(file) || !graph.has(file)) continue
    found.add(file)
    for (const { to, kind } of graph.get(file)) if (to !== undefined && kind === 'value') open.push(to)
  }
  return found
}

function shared(files) {
  const names = new Map()
  for (const file of files) {
    const name = basename(file).replace(/\.\w+$/, '')
    names.set(name, (names.get(name) ?? 0) + 1)
  }
  return [...names.values()].filter((count) => count > 1).length
}

/** The methods that an interface declares, each counted once. */
function methodsOf(file, name) {
  const text = read(file)
  const start = text.indexOf(`export interface ${name} {`)
  const body = text.slice(start, text.indexOf('\n}\n', start))
  return [...body.matchAll(/^ {2}\w+\??\(/gm)].length
}

function publicMethods(file) {
  const names = [...read(file).matchAll(/^ {2}(?:async )?(\w+)(?:<.*)?\(/gm)].map(([, name]) => name)
  return new Set(names.filter((name) => name !== 'constructor')).size
}

function openings(files) {
  const bad = /(?:^|[.:!?] +)(?:What|Whoever|Whatever|Whichever|Nobody|Somebody|Where [\w' ]+ (?:is|are)\b)/
  let count = 0
  for (const file of files) {
    for (const line of readFileSync(join(ROOT, file), 'utf8').split('\n')) {
      const comment = /(?:^|\s)(?:\/\/|\/?\*\*?|--)\s*(.*)$/.exec(line)?.[1]
      if (comment !== undefined && bad.test(comment)) count++
    }
  }
  return count
}

/** Places that read the clock, start a timer or draw randomness by themselves. */
function clocks(files) {
  const use =
    /(?<![\w.])(?:Date\.now\(|new Date\(\)|performance\.now\(|setTimeout\(|setInterval\(|setImmediate\(|Math\.random\(|randomBytes\(|randomUUID\(|AbortSignal\.timeout\()/g
  const counts = files
    .filter((file) => !file.startsWith('src/conformance/') && file !== 'src/base/environment.ts')
    .map((file) => [...read(file).matchAll(use)].length)
  return [
    ['places that read the clock, start a timer or draw randomness', counts.reduce((a, b) => a + b, 0)],
    ['  in so many files', counts.filter((count) => count > 0).length],
  ]
}
