// What a store on disk may come to: full, locked, damaged, foreign, newer; and what is said about it.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test, vi } from 'vitest'
import type { Hint } from '../../src/contract/engine.ts'
import { Connection } from '../../src/engines/sqlite/connection.ts'
import { SqliteEngine } from '../../src/engines/sqlite/index.ts'
import { migrate, needsMigration } from '../../src/engines/sqlite/schema.ts'
import { draft, engineOn, folder, keyFor, newFile, newId, raw, violations } from './store.ts'

const WANT = { names: ['job'], limit: 100, leaseMs: 60_000 }

test('a full store says so, stays whole, and goes on once there is room', async () => {
  const file = newFile()
  let connection: Connection | undefined
  const open = Connection.open
  const spy = vi.spyOn(Connection, 'open').mockImplementation(async (...given) => {
    connection = await open.apply(Connection, given)
    return connection
  })
  const engine = await engineOn(file)
  spy.mockRestore()
  connection?.statement('PRAGMA max_page_count = 200').get()
  const acknowledged: string[] = []
  const fill = async (): Promise<never> => {
    for (;;) {
      const drafts = Array.from({ length: 50 }, () => draft({ params: `"${'x'.repeat(1_000)}"` }))
      await engine.admit(drafts)
      acknowledged.push(...drafts.map(({ id }) => id))
    }
  }
  await expect(fill()).rejects.toMatchObject({ code: 'STORE_FULL' })
  await expect(engine.admit([draft({ params: `"${'x'.repeat(200_000)}"` })])).rejects.toMatchObject({
    code: 'STORE_FULL',
  })
  expect(acknowledged.length).toBeGreaterThan(100)
  const db = await raw(file)
  expect(violations(db)).toEqual([])
  expect((await engine.read(acknowledged.slice(0, 100))).every((entry) => entry?.status === 'pending')).toBe(
    true,
  )
  connection?.statement('PRAGMA max_page_count = 100000').get()
  expect((await engine.admit([draft()]))[0]?.outcome).toBe('created')
  expect((await engine.claim(WANT)).claimed.length).toBe(100)
  expect(violations(db)).toEqual([])
})

test('a lock that another process holds is waited for, with the event loop free', async () => {
  const file = newFile()
  const engine = await engineOn(file)
  const db = await raw(file)
  db.exec('BEGIN IMMEDIATE')
  let ticks = 0
  const timer = setInterval(() => ticks++, 10)
  const admitted = engine.admit([draft()])
  setTimeout(() => db.exec('COMMIT'), 400)
  expect((await admitted)[0]?.outcome).toBe('created')
  clearInterval(timer)
  expect(ticks).toBeGreaterThan(10)
})

test('a lock that is held for too long is a store that is away', async () => {
  const file = newFile()
  const engine = await engineOn(file, { busyTimeoutMs: 100 })
  const db = await raw(file)
  db.exec('BEGIN IMMEDIATE')
  await expect(engine.admit([draft()])).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  expect((await engine.read([newId()]))[0], 'reading waits for nobody').toBeUndefined()
  db.exec('COMMIT')
  expect((await engine.admit([draft()]))[0]?.outcome).toBe('created')
})

test('closing ends what still waits for the lock', async () => {
  const file = newFile()
  const engine = await engineOn(file)
  const db = await raw(file)
  db.exec('BEGIN IMMEDIATE')
  const refused = expect(engine.admit([draft()])).rejects.toMatchObject({ code: 'CLOSED' })
  await new Promise((resolve) => setTimeout(resolve, 30))
  await engine.close()
  await refused
})

const DAMAGE: Record<string, string> = {
  'errors that are no JSON': "errors = '['",
  'errors of another shape': "errors = '{}'",
  'a parent that is none': "parent = '7'",
  'a lane that is not there': 'lane = 4711',
  'a status that is unknown': 'status = 9, expires_at = 9e15',
  'a number out of range': 'attempt = 9223372036854775807',
  'an id cut short': 'id = substr(id, 1, 70)',
}

test.each(Object.entries(DAMAGE))(
  'a row with %s is set aside, told of, and harms no other',
  async (_what, damage) => {
    const file = newFile()
    const engine = await engineOn(file)
    const hints: Hint[] = []
    engine.listen((hint) => hints.push(hint))
    const [bad, good] = [draft(), draft()]
    await engine.admit([bad, good])
    const db = await raw(file)
    db.prepare(`UPDATE runs SET ${damage} WHERE id = ?`).run(bad.id)
    expect((await engine.list({})).entries.map(({ id }) => id)).toEqual([good.id])
    const read = await engine.read([bad.id, good.id])
    expect(read.map((entry) => entry?.id)).toEqual([undefined, good.id])
    expect((await engine.claim(WANT)).claimed.map(({ entry }) => entry.id)).toEqual([good.id])
    const again = draft({ id: newId(bad.id.slice(0, 64)) })
    expect((await engine.admit([again]))[0]?.outcome).toBe('created')
    expect((await engine.claim(WANT)).claimed.map(({ entry }) => entry.id)).toEqual([again.id])
    expect(hints.filter(({ kind }) => kind === 'trouble').length).toBe(1)
    expect((await engine.sweep(100)).requeued).toEqual([])
    // The counter of a lane or status that was overwritten is all that can't be known any more.
    expect(violations(db).filter((each) => !/lane|status/.test(damage) || !/counter/.test(each))).toEqual([])
  },
)

test('a damaged row that runs is lost to its worker, and frees its key', async () => {
  const file = newFile()
  const engine = await engineOn(file)
  const bad = draft()
  await engine.admit([bad])
  const { claimed } = await engine.claim(WANT)
  const db = await raw(file)
  db.prepare("UPDATE runs SET errors = '[' WHERE id = ?").run(bad.id)
  const token = claimed[0]?.token as string
  const { answers } = await engine.settle([{ id: bad.id, token, kind: 'failed', error: '{}' }])
  expect(answers).toEqual(['lost'])
  expect((await engine.admit([draft({ id: newId(bad.id.slice(0, 64)) })]))[0]?.outcome).toBe('created')
  expect(violations(db)).toEqual([])
})

test('a follow-up that can’t be read is told of, and harms neither its run nor the others', async () => {
  const file = newFile()
  const engine = await engineOn(file)
  const hints: Hint[] = []
  engine.listen((hint) => hints.push(hint))
  const parent = draft()
  const [lost, kept] = [draft({ name: 'after' }), draft({ name: 'after' })]
  await engine.admit([
    {
      ...parent,
      then: [
        { on: 'both', draft: lost },
        { on: 'both', draft: kept },
      ],
    },
  ])
  const db = await raw(file)
  db.prepare("UPDATE follow_ups SET body = '{' WHERE id = ?").run(lost.id)
  await engine.cancel([parent.id])
  const { claimed } = await engine.claim({ ...WANT, names: ['after'] })
  expect(claimed.map(({ entry }) => entry.id)).toEqual([kept.id])
  expect(hints.some(({ kind }) => kind === 'trouble')).toBe(true)
  expect(violations(db)).toEqual([])
})

test('keys whose hashes collide stay apart', async () => {
  const file = newFile()
  const engine = await engineOn(file)
  const [one, two] = ['a', 'b'].map((end) => `${keyFor('x').slice(0, 63)}${end}`) as [string, string]
  const drafts = [draft({ id: newId(one), params: '1' }), draft({ id: newId(two), params: '2' })]
  expect((await engine.admit(drafts)).map(({ outcome }) => outcome)).toEqual(['created', 'created'])
  expect((await engine.read(drafts.map(({ id }) => id))).map((entry) => entry?.params)).toEqual(['1', '2'])
  const { claimed } = await engine.claim(WANT)
  await engine.settle(
    claimed.map(({ entry, token }) => ({ id: entry.id, token, kind: 'completed', result: entry.params })),
  )
  expect(await engine.invalidate({ keys: [one] })).toBe(1)
  const again = await engine.admit([draft({ id: newId(one) }), draft({ id: newId(two) })])
  expect(again.map(({ outcome, entry }) => [outcome, entry.result])).toEqual([
    ['created', undefined],
    ['hit', '2'],
  ])
  expect(violations(await raw(file))).toEqual([])
})

test('text of any kind comes back to the letter', async () => {
  const engine = await engineOn(newFile())
  for (const text of [
    '',
    'nul \0 inside',
    'ünïcödé 🎉 \u2028',
    '"\\u0000"',
    '\n\r\t\b',
    'x'.repeat(300_000),
  ]) {
    const one = draft({ params: text, extra: text })
    await engine.admit([one])
    const { claimed } = await engine.claim(WANT)
    expect(claimed[0]?.entry.params).toBe(text)
    expect(claimed[0]?.entry.extra).toBe(text)
    const token = claimed[0]?.token as string
    await engine.extend([{ id: one.id, token, progress: text }], 60_000)
    await engine.settle([{ id: one.id, token, kind: 'retry', error: text, delayMs: 0 }])
    const next = await engine.claim(WANT)
    expect(next.claimed[0]?.entry).toMatchObject({ errors: [text], progress: text })
    await engine.settle([
      { id: one.id, token: next.claimed[0]?.token as string, kind: 'completed', result: text },
    ])
    expect((await engine.read([one.id]))[0]?.result).toBe(text)
  }
})

test('what is due later, or meant for others, costs a claim nothing', async () => {
  const engine = await engineOn(newFile())
  const time = async (): Promise<number> => {
    const times: number[] = []
    for (let round = 0; round < 30; round++) {
      await engine.admit([draft()])
      const began = performance.now()
      expect((await engine.claim(WANT)).claimed.length).toBe(1)
      times.push(performance.now() - began)
    }
    return times.sort((a, b) => a - b)[15] as number
  }
  const before = await time()
  for (let batch = 0; batch < 20; batch++) {
    const later = Array.from({ length: 500 }, () => draft({ delayMs: 3_600_000, priority: 1 }))
    const others = Array.from({ length: 500 }, () => draft({ name: 'other', priority: 2 }))
    await engine.admit([...later, ...others])
  }
  expect(await time()).toBeLessThan(before * 5 + 1)
})

test('lanes that hold nothing any more are swept, though other connections remember them', async () => {
  const file = newFile()
  let now = 1_750_000_000_000
  const [one, two] = [await engineOn(file, { now: () => now }), await engineOn(file, { now: () => now })]
  const first = draft({ queue: 'tenant' })
  await two.admit([first])
  await one.cancel([first.id])
  now += 700_000
  expect((await one.sweep(100)).removed).toBe(1)
  const db = await raw(file)
  expect(db.prepare('SELECT count(*) AS n FROM lanes WHERE id > 0').get()).toEqual({ n: 0 })
  expect((await two.admit([draft({ queue: 'tenant' })]))[0]?.outcome).toBe('created')
  expect((await one.claim(WANT)).claimed.length).toBe(1)
  expect(violations(db)).toEqual([])
})

test('a name with many results is forgotten in steps, all of it', async () => {
  const file = newFile()
  const engine = await engineOn(file)
  for (let batch = 0; batch < 3; batch++) {
    await engine.admit(Array.from({ length: 700 }, (_, index) => draft({ priority: index % 3 })))
    const { claimed } = await engine.claim({ ...WANT, limit: 700 })
    await engine.settle(
      claimed.map(({ entry, token }) => ({ id: entry.id, token, kind: 'completed', result: '1' })),
    )
  }
  expect(await engine.invalidate({ name: 'job' })).toBe(2_100)
  expect(await engine.invalidate({ name: 'job' })).toBe(0)
  expect(violations(await raw(file))).toEqual([])
})

test('a folder that is not there is made; a path that can’t be one is refused', async () => {
  const root = folder()
  const engine = await engineOn(join(root, 'a', 'b', 'store.db'))
  expect((await engine.admit([draft()]))[0]?.outcome).toBe('created')
  mkdirSync(join(root, 'taken'))
  writeFileSync(join(root, 'plain'), 'x')
  for (const file of [join(root, 'taken'), join(root, 'plain', 'store.db')]) {
    await expect(new SqliteEngine({ file }).open()).rejects.toMatchObject({ code: 'STORE_UNAVAILABLE' })
  }
})

test('a file that is no database, another program’s, or a newer one’s is refused and left as it is', async () => {
  const root = folder()
  const text = join(root, 'text.db')
  writeFileSync(text, 'This is no database, but it is somebody’s file. '.repeat(40))
  const foreign = join(root, 'foreign.db')
  const theirs = await raw(foreign)
  theirs.exec('CREATE TABLE users (id INTEGER PRIMARY KEY)')
  theirs.close()
  const newer = join(root, 'newer.db')
  await (await engineOn(newer)).close()
  const ours = await raw(newer)
  ours.exec('PRAGMA user_version = 99; PRAGMA wal_checkpoint(TRUNCATE)')
  ours.close()
  for (const [file, message] of [
    [text, /no SQLite database/],
    [foreign, /another program/],
    [newer, /newer deferq.*99/],
  ] as const) {
    const before = readFileSync(file)
    const error = await new SqliteEngine({ file }).open().catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'STORE_MISMATCH', message: expect.stringMatching(message) })
    expect(readFileSync(file).equals(before)).toBe(true)
  }
})

test('URLs name a file, and nothing else', async () => {
  const opened = (url: string): string[] => [...new SqliteEngine({ url }).caveats]
  expect(opened('sqlite:./x.db').length).toBe(2)
  expect(opened('sqlite:///tmp/x.db?synchronous=full').length).toBe(1)
  expect(opened('sqlite::memory:')[0]).toMatch(/engine object/)
  for (const url of [
    'sqlite:',
    'sqlite://host/x.db',
    'sqlite:x.db?mode=ro',
    'sqlite:x.db?synchronous=off',
    'sqlite:%zz',
    'postgres://x',
  ]) {
    expect(() => new SqliteEngine({ url }), url).toThrow(expect.objectContaining({ code: 'INVALID_URL' }))
  }
  expect(() => new SqliteEngine({})).toThrow(expect.objectContaining({ code: 'INVALID_OPTION' }))
  const memory = new SqliteEngine({ url: 'sqlite::memory:' })
  expect((await memory.admit([draft()]))[0]?.outcome).toBe('created')
  await memory.close()
})

test.each([1, 2, 3])(
  'a file that another process makes one of ours after look %i is none of another program',
  async (at) => {
    const file = newFile()
    const [mine, theirs] = [await raw(file), await raw(file)]
    let looks = 0
    const looking = {
      prepare(sql: string) {
        // As it stood at this look.
        const row = mine.prepare(sql).get()
        if (++looks === at) migrate(theirs, file)
        return { get: () => row }
      },
    } as unknown as typeof mine
    // Where it still looks fresh, it is looked at again in the step that would migrate it.
    expect(needsMigration(looking, file)).toBe(at > 1)
  },
)

test('with migrate off a fresh file is refused and unchanged, and a migrated one is opened', async () => {
  const file = newFile()
  const refusal = { code: 'STORE_MISMATCH', message: expect.stringContaining('migrate is off') }
  for (const options of [{ file, migrate: false }, { url: `sqlite:${file}?migrate=off` }]) {
    const engine = new SqliteEngine(options)
    await expect(engine.open()).rejects.toMatchObject(refusal)
    await engine.close()
    expect(readFileSync(file)).toHaveLength(0)
  }
  const maker = new SqliteEngine({ url: `sqlite:${file}?migrate=on` })
  await maker.open()
  await maker.close()
  const engine = new SqliteEngine({ url: `sqlite:${file}?migrate=off` })
  const made = draft()
  expect(await engine.admit([made])).toHaveLength(1)
  expect((await engine.read([made.id]))[0]?.status).toBe('pending')
  await engine.close()
  expect(() => new SqliteEngine({ url: `sqlite:${file}?migrate=no` })).toThrow('neither on nor off')
})
