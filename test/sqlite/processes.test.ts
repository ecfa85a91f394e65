// Several processes over one file: nothing is lost, nothing is run twice, and nobody sees a locked database.
import { statSync } from 'node:fs'
import { expect, test } from 'vitest'
import { child, draft, engineOn, newFile, raw, violations } from './store.ts'

test('8 processes dispatch 20,000 tasks and work on them at the same time', { timeout: 60_000 }, async () => {
  const file = newFile()
  const [processes, share, shared] = [8, 2_500, 500]
  const all = processes * share + shared / 25
  const children = Array.from({ length: processes }, (_, index) =>
    child('both', file, index, share, shared, all),
  )
  const ended = await Promise.all(children.map((each) => each.ended))
  const told = ended.map(([line]) => line as { acknowledged: string[]; done: string[]; lag: number })
  const acknowledged = new Set(told.flatMap((each) => each.acknowledged))
  const done = told.flatMap((each) => each.done)
  expect(acknowledged.size).toBe(all)
  expect(done.length, 'each run has ended once').toBe(all)
  expect(new Set(done)).toEqual(acknowledged)

  const db = await raw(file)
  expect(violations(db)).toEqual([])
  const { n } = db.prepare('SELECT count(*) AS n FROM runs WHERE status = 2').get() as { n: number }
  expect(n).toBe(all)
  const engine = await engineOn(file)
  const { totals, lanes } = await engine.count()
  expect(lanes).toEqual([])
  expect(totals).toMatchObject({ created: all, completed: all })
  expect(totals.outcomesRefused).toBeUndefined()
  // Waiting for the lock must not stop a process: its timers run on, if late on two busy cores.
  expect(Math.max(...told.map(({ lag }) => lag))).toBeLessThan(1_500)
})

test('the log stays bounded, though there is always somebody writing', async () => {
  const file = newFile()
  const [one, two] = [await engineOn(file), await engineOn(file)]
  let largest = 0
  for (let round = 0; round < 40; round++) {
    const drafts = Array.from({ length: 500 }, () => draft({ params: `"${'x'.repeat(200)}"` }))
    await Promise.all([one.admit(drafts.slice(0, 250)), two.admit(drafts.slice(250))])
    largest = Math.max(largest, statSync(`${file}-wal`).size)
  }
  expect(largest).toBeLessThan(32_000_000)
})

test('six processes open a fresh file at the same moment', { timeout: 30_000 }, async () => {
  const file = newFile()
  const moment = Date.now() + 2_500
  const children = Array.from({ length: 6 }, () => child('opener', file, moment))
  const ended = await Promise.all(children.map((each) => each.ended))
  expect(ended.map(([line]) => line)).toEqual(Array.from({ length: 6 }, () => ({ outcome: 'created' })))
  expect(violations(await raw(file))).toEqual([])
})

test('another process hears of work, of invalidations and of a cancelled lease; this one of the end it waits for', {
  timeout: 30_000,
}, async () => {
  const file = newFile()
  const engine = await engineOn(file)
  const ended: string[] = []
  engine.listen((hint) => {
    if (hint.kind === 'ended') ended.push(hint.id)
  })
  const { line } = child('hearer', file)
  await line('waiting')
  const [first, second] = [draft({ watch: true }), draft()]
  await engine.admit([first, second])
  const { claimed } = await line('claimed')
  expect(claimed).toEqual([first.id, second.id])
  await line('settled')
  await expect.poll(() => ended).toEqual([first.id])
  await engine.invalidate({ name: 'job' })
  expect(await line('invalidated')).toMatchObject({ invalidated: { selector: { name: 'job' } } })
  await engine.cancel([second.id])
  expect(await line('cancelled')).toMatchObject({ cancelled: { id: second.id } })
})

test('a process that is killed in the middle of its work leaves a store that is whole', {
  timeout: 30_000,
}, async () => {
  const file = newFile()
  const engine = await engineOn(file)
  const killed = child('both', file, 0, 100_000, 500, -1)
  await expect
    .poll(async () => (await engine.count()).totals.completed ?? 0, { timeout: 20_000 })
    .toBeGreaterThan(200)
  killed.process.kill('SIGKILL')
  await expect(killed.ended).rejects.toThrow('SIGKILL')
  const [verdict] = await engine.admit([draft()])
  expect(verdict?.outcome).toBe('created')
  expect(violations(await raw(file))).toEqual([])
})
