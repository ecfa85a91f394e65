// The long run of the model: npm run model -- --help
import { parseArgs } from 'node:util'
import { startPostgres } from '../servers/postgres.ts'
import { startRedis } from '../servers/redis.ts'
import { checkStore } from './check-store.ts'
import { explore } from './interleavings.ts'
import type { StoreKind } from './player.ts'
import { SCENARIOS } from './scenarios.ts'
import { composed, memory, postgres, redis, sqlite } from './stores.ts'
import { transitionTable } from './transitions.ts'

const HELP = `Plays random histories of commands on an engine and on the model, and compares every answer.

  --engine NAME     memory, sqlite, composed, redis or postgres; all of them if left out
  --histories N     how many histories to play on each engine (5000)
  --length N        the most commands of a history (60)
  --seed N          plays the same histories again
  --interleavings   instead: every interleaving of small worlds around the memory engine
  --depth N         how many steps of each world (8)
  --states          instead: prints the states of a run and the ways between them`

const { values } = parseArgs({
  options: {
    engine: { type: 'string' },
    histories: { type: 'string', default: '5000' },
    length: { type: 'string', default: '60' },
    seed: { type: 'string' },
    interleavings: { type: 'boolean', default: false },
    depth: { type: 'string', default: '8' },
    states: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const stops: (() => Promise<void>)[] = []

const KINDS: Record<string, () => Promise<StoreKind>> = {
  memory: async () => memory,
  sqlite: async () => sqlite,
  composed: async () => composed,
  async redis() {
    const server = await startRedis()
    stops.push(() => server.stop())
    return redis(() => server.url)
  },
  async postgres() {
    const server = await startPostgres()
    stops.push(() => server.stop())
    return postgres(() => server.url)
  },
}

function exploreAll(depth: number): void {
  for (const scenario of SCENARIOS) {
    const began = performance.now()
    const { states, transitions, fairRuns, reached, violation } = explore(scenario, depth)
    const seconds = Math.round((performance.now() - began) / 1_000)
    const counts = `${states} states, ${transitions} transitions, ${fairRuns} fair runs`
    console.log(
      `${scenario.name}: depth ${depth}, ${counts}, ${violation ? 'a violation' : '0 violations'}, ${seconds} s`,
    )
    console.log(`  reached: ${[...reached].map(([what, count]) => `${what} ${count}`).join(', ')}`)
    if (violation === undefined) continue
    console.log(violation)
    process.exitCode = 1
  }
}

async function main(): Promise<void> {
  if (values.help) {
    console.log(HELP)
    return
  }
  if (values.states) {
    console.log(await transitionTable())
    return
  }
  if (values.interleavings) {
    exploreAll(Number(values.depth))
    return
  }
  const names = values.engine === undefined ? Object.keys(KINDS) : [values.engine]
  for (const name of names) {
    const open = KINDS[name]
    if (open === undefined)
      throw new Error(`--engine: there is no engine '${name}'. Take one of ${Object.keys(KINDS).join(', ')}.`)
    const began = performance.now()
    const { commands, histories, seed, difference } = await checkStore(await open(), {
      histories: Number(values.histories),
      length: Number(values.length),
      ...(values.seed === undefined ? {} : { seed: Number(values.seed) }),
    })
    const seconds = Math.round((performance.now() - began) / 1_000)
    const found = difference === undefined ? '0 differences' : 'a difference'
    console.log(`${name}: ${histories} histories, ${commands} commands, ${found}, seed ${seed}, ${seconds} s`)
    if (difference === undefined) continue
    console.log(difference)
    process.exitCode = 1
  }
}

try {
  await main()
} finally {
  for (const stop of stops) await stop()
}
