// Where the tests of facade and worker keep their tasks: every store behind one interface, workers, and engines that break.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Keyv } from 'keyv'
import { onTestFinished, test } from 'vitest'
import { eventually as until } from '../../src/conformance/scene.ts'
import type { Engine, Hint } from '../../src/contract/engine.ts'
import type { DeferQOptions } from '../../src/deferq.ts'
import { composed } from '../../src/engines/composed/index.ts'
import { MemoryEngine, MemoryStore } from '../../src/engines/memory/index.ts'
import type { AnyTask, ErrorCode, Logger, WorkerOptions } from '../../src/index.ts'
import { DeferQ, DeferqError, Worker } from '../../src/index.ts'
import { MemoryBroker, MemoryTransport } from '../../src/transports/memory.ts'
import { sharedUrl } from '../servers/shared.ts'

export type AnyDeferQ = ConstructorParameters<typeof Worker>[0]
type Given<Tasks extends readonly AnyTask[]> = Omit<DeferQOptions<Tasks>, 'url'>

/** One store, empty at first; each `deferq` of it is a connection of its own. */
export interface Place {
  readonly name: string
  /** What another process would need; memory has none. */
  readonly url?: string
  deferq<const Tasks extends readonly AnyTask[] = readonly AnyTask[]>(options?: Given<Tasks>): DeferQ<Tasks>
}

const unique = (): string => `t${randomBytes(6).toString('hex')}`

/** `now` moves the clock of the store. */
export function memory(now?: () => number): Place {
  const store = new MemoryStore(now)
  return placeOf('memory', () => ({ engine: new MemoryEngine({ store }) }))
}

/** The composed engine, with every part in memory. */
export function ofParts(): Place {
  const map = new Map()
  const broker = new MemoryBroker()
  const prefix = unique()
  return placeOf('composed', () => ({
    engine: composed({ tasks: new Keyv({ store: map }), queue: new MemoryTransport({ broker }), prefix }),
  }))
}

export async function sqlite(): Promise<Place> {
  const folder = await mkdtemp(join(tmpdir(), 'deferq-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  const url = `sqlite:${join(folder, 'deferq.db')}`
  return placeOf('sqlite', () => ({ url }), url)
}

export async function redis(): Promise<Place> {
  const url = `${sharedUrl('redis')}?prefix=${unique()}`
  return placeOf('redis', () => ({ url }), url)
}

export async function postgres(): Promise<Place> {
  const url = `${sharedUrl('postgres')}?schema=${unique()}`
  return placeOf('postgres', () => ({ url }), url)
}

export const SHARED_PLACES = { sqlite, redis, postgres }
const PLACES: Record<string, () => Promise<Place>> = {
  memory: async () => memory(),
  composed: async () => ofParts(),
  ...SHARED_PLACES,
}

/** The same test on every store. */
export function everywhere(title: string, run: (place: Place) => Promise<void>): void {
  for (const [name, make] of Object.entries(PLACES)) {
    test(`${title} [${name}]`, async () => run(await make()))
  }
}

function placeOf(name: string, where: () => { engine: Engine } | { url: string }, url?: string): Place {
  const place: Omit<Place, 'url'> = {
    name,
    deferq(options = {}) {
      const deferq = new DeferQ({ logger: SILENT, ...where(), ...options } as DeferQOptions<never>)
      onTestFinished(() => deferq.close())
      return deferq as never
    },
  }
  return url === undefined ? place : { ...place, url }
}

/** A worker that runs until the test ends; it looks for work often, so that no test waits on a missed hint. */
export function working(deferq: AnyDeferQ, options: WorkerOptions = {}): Worker {
  const worker = new Worker(deferq, { sleep: 50, ...options })
  const ran = worker.run()
  ran.catch(() => {})
  onTestFinished(async () => {
    await worker.abort()?.catch(() => {})
  })
  return worker
}

/** Works off what is there, and ends. */
export async function workOff(deferq: AnyDeferQ, options: WorkerOptions = {}) {
  return new Worker(deferq, { sleep: 20, stopWhenEmpty: true, ...options }).run()
}

export const SILENT: Logger = { debug() {}, info() {}, warn() {}, error() {} }

export interface Line {
  level: keyof Logger
  details: Record<string, unknown>
  message: string
}

/** A logger that keeps its lines. */
export function listening(): { logger: Logger; lines: Line[]; said(text: RegExp): Line[] } {
  const lines: Line[] = []
  const at = (level: keyof Logger) => (details: object, message: string) =>
    void lines.push({ level, details: details as Record<string, unknown>, message })
  return {
    logger: { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') },
    lines,
    said: (text) => lines.filter(({ message }) => text.test(message)),
  }
}

type Verb = Exclude<keyof Engine, 'name' | 'caveats' | 'listen' | 'hears'>

export interface Breakable {
  engine: Engine
  /** How often each verb was called, whether it was broken or not. */
  calls: Partial<Record<Verb, unknown[][]>>
  /** These verbs fail with this error until they are mended. */
  break(verbs: readonly Verb[], error?: unknown): void
  /** These verbs answer only once they are mended. */
  hang(verbs: readonly Verb[]): void
  mend(): void
}

export const AWAY = new DeferqError('STORE_UNAVAILABLE', 'The store is away.')

/** An engine whose verbs fail or hang on demand. */
export function breakable(engine: Engine = new MemoryEngine()): Breakable {
  const broken = new Map<string, unknown>()
  const hung = new Set<string>()
  const calls: Breakable['calls'] = {}
  let mended: (() => void)[] = []
  const proxy = new Proxy(engine, {
    get(target, verb: Verb) {
      const value = target[verb] as unknown
      if (typeof value !== 'function') return value
      // A hint may come without the run, and then a read has to find it.
      if ((verb as string) === 'listen')
        return (hear: (hint: Hint) => void) =>
          target.listen((hint) => hear(hint.kind === 'ended' ? { kind: 'ended', id: hint.id } : hint))
      return async (...args: unknown[]) => {
        calls[verb] ??= []
        calls[verb].push(args)
        if (hung.has(verb)) await new Promise<void>((resolve) => mended.push(resolve))
        if (broken.has(verb)) throw broken.get(verb)
        return value.apply(target, args)
      }
    },
  })
  return {
    engine: proxy,
    calls,
    break: (verbs, error = AWAY) => {
      for (const verb of verbs) broken.set(verb, error)
    },
    hang: (verbs) => {
      for (const verb of verbs) hung.add(verb)
    },
    mend: () => {
      broken.clear()
      hung.clear()
      for (const go of mended) go()
      mended = []
    },
  }
}

export interface Gate {
  opened: Promise<void>
  open(): void
}

export function gate(): Gate {
  let open = (): void => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  return { opened, open }
}

/** Waits until it holds, with room for a loaded machine. */
export const eventually = (what: string, holds: () => boolean | Promise<boolean>, ms = 15_000) =>
  until(what, holds, ms)

/** The error with which a promise or a function ends; a wrong or missing code fails the test. */
export async function failing(
  code: ErrorCode,
  doing: Promise<unknown> | (() => unknown),
): Promise<DeferqError> {
  let answer: unknown
  try {
    answer = await (typeof doing === 'function' ? doing() : doing)
  } catch (error) {
    if (error instanceof DeferqError && error.code === code) return error
    throw new Error(`Expected ${code}, and got ${String(error)}`, { cause: error })
  }
  throw new Error(`Expected ${code}, and got an answer: ${JSON.stringify(answer)}`)
}
