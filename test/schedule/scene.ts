// Where the tests of schedules play: stores whose clock they move, and hands that do by the verbs what a worker's upkeep does.
import { expect, onTestFinished, test } from 'vitest'
import type { Claimed, Engine, Entry } from '../../src/contract/engine.ts'
import { SHARD_LENGTH } from '../../src/contract/engine.ts'
import { MemoryEngine, MemoryStore } from '../../src/engines/memory/index.ts'
import { SqliteEngine } from '../../src/engines/sqlite/index.ts'
import type { AnyTask } from '../../src/index.ts'
import { DeferQ } from '../../src/index.ts'
import { SCHEDULE } from '../../src/schedule/state.ts'
import { tick } from '../../src/schedule/tick.ts'
import type { Place } from '../facade/places.ts'
import { memory, ofParts, SHARED_PLACES, SILENT } from '../facade/places.ts'
import { newFile } from '../sqlite/store.ts'

/** Engines whose clock can be moved; a new one is added here. */
const CLOCKED: Record<string, (now: () => number) => () => Engine> = {
  memory(now) {
    const store = new MemoryStore(now)
    return () => new MemoryEngine({ store })
  },
  sqlite(now) {
    const file = newFile()
    return () => new SqliteEngine({ file, now })
  },
}

/** Stores as `places.ts` has them, with a clock of their own; a new one is added here. */
const PLACES: Record<string, () => Promise<Place>> = {
  memory: async () => memory(),
  sqlite: SHARED_PLACES.sqlite,
  redis: SHARED_PLACES.redis,
  postgres: SHARED_PLACES.postgres,
  composed: async () => ofParts(),
}

export class Stage {
  /** The store's clock. */
  now: number
  readonly #connect: () => Engine

  constructor(begin: string, open: (now: () => number) => () => Engine) {
    this.now = Date.parse(begin)
    this.#connect = open(() => this.now)
  }

  connect(): Engine {
    const engine = this.#connect()
    onTestFinished(() => engine.close())
    return engine
  }

  deferq<const Tasks extends readonly AnyTask[] = readonly AnyTask[]>(tasks?: Tasks): DeferQ<Tasks> {
    const engine = this.connect()
    return new DeferQ({ engine, logger: SILENT, ...(tasks && { tasks }) }) as DeferQ<Tasks>
  }

  /** Sets the clock, and does all ticks that are due. */
  async until(text: string, engine = this.connect()): Promise<void> {
    this.now = Date.parse(text)
    await this.ticks(engine)
  }

  async ticks(engine = this.connect()): Promise<void> {
    for (let found = await begin(engine); found.length > 0; found = await begin(engine)) {
      for (const claimed of found) await end(engine, claimed)
    }
  }

  /** The tasks of this name that are there, by the time of their occurrence. */
  async made(name = 'job'): Promise<string[]> {
    return (await this.runs(name)).map((run) => occurrenceOf(run)).sort()
  }

  async runs(name = 'job'): Promise<Entry[]> {
    return everyRun(this.connect(), name)
  }
}

/** A page may hold fewer than there are. */
export async function everyRun(engine: Engine, name: string): Promise<Entry[]> {
  const runs: Entry[] = []
  let cursor: string | undefined
  do {
    const page = await engine.list({ name, limit: 1_000 }, cursor)
    runs.push(...page.entries)
    cursor = page.cursor
  } while (cursor !== undefined)
  return runs
}

export const begin = async (engine: Engine, leaseMs = 30_000): Promise<Claimed[]> =>
  (await engine.claim({ names: [SCHEDULE], limit: 10, leaseMs })).claimed

export async function end(engine: Engine, { entry, token }: Claimed): Promise<string | undefined> {
  const ending = await tick(entry, engine)
  // What is admitted with an outcome lies in the shard of the run that ends.
  for (const { id } of ending.then ?? [])
    expect(id.slice(0, SHARD_LENGTH)).toBe(entry.id.slice(0, SHARD_LENGTH))
  const { answers } = await engine.settle([{ ...ending, id: entry.id, token }])
  return answers[0]
}

function occurrenceOf({ extra }: Entry): string {
  const { at } = (JSON.parse(extra as string) as { occurrence: { at?: number } }).occurrence
  return at === undefined ? 'asked for' : new Date(at).toISOString().slice(0, 19).replace('T', ' ')
}

export function onEachStage(title: string, begin: string, run: (stage: Stage) => Promise<void>): void {
  for (const [name, open] of Object.entries(CLOCKED))
    test(`${title} [${name}]`, () => run(new Stage(begin, open)))
}

export function everyPlace(title: string, run: (place: Place) => Promise<void>): void {
  for (const [name, make] of Object.entries(PLACES)) test(`${title} [${name}]`, async () => run(await make()))
}
