// The long run of the model: npm run model -- [--engine NAME] [--histories N] [--length N] [--seed N]
import { parseArgs } from 'node:util'
import { startPostgres } from '../servers/postgres.ts'
import { startRedis } from '../servers/redis.ts'
import { checkStore } from './check-store.ts'
import type { StoreKind } from './player.ts'
import { composed, memory, postgres, redis, sqlite } from './stores.ts'

const HELP = `Plays random histories of commands on an engine and on the model, and compares every answer.

  --engine NAME     memory, sqlite, composed, redis or postgres; all of them if left out
  --histories N     how many histories to play on each engine (5000)
  --length N        the most commands of a history (60)
  --seed N          plays the same histories again`

const { values } = parseArgs({
  options: {
    engine: { type: 'string' },
    histories: { type: 'string', default: '5000' },
    length: { type: 'string', default: '60' },
    seed: { type: 'string' },
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

async function main(): Promise<void> {
  if (values.help) {
    console.log(HELP)
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
