// dispatch(…, { tx }): a dispatch that is part of the caller's own transaction.
import pg from 'pg'
import { expect, onTestFinished, test } from 'vitest'
import { task } from '../../src/index.ts'
import { eventually, failing, memory, postgres, working, workOff } from '../facade/places.ts'
import { sharedUrl } from '../servers/shared.ts'

const job = task('job', { resultTtl: '1h', run: ({ n }: { n: number }) => n * 2 })
const after = task('after', { run: () => undefined })

async function client(): Promise<pg.Client> {
  const connected = new pg.Client({ connectionString: sharedUrl('postgres') })
  await connected.connect()
  onTestFinished(() => connected.end())
  return connected
}

test('committed: it is there with the rest of the transaction, and runs', async () => {
  const place = await postgres()
  const deferq = place.deferq({ tasks: [job] })
  const tx = await client()
  await tx.query('begin')
  const { taskId, outcome } = await deferq.dispatch('job', { n: 21 }, { tx })
  expect(outcome).toBe('created')
  await failing('TASK_NOT_FOUND', deferq.getStatus(taskId))
  expect((await workOff(place.deferq({ tasks: [job] }))).completed).toBe(0)
  await tx.query('commit')
  working(place.deferq({ tasks: [job] }))
  expect(await deferq.result(taskId)).toBe(42)
})

test('rolled back: it never was, and its key is free', async () => {
  const place = await postgres()
  const deferq = place.deferq({ tasks: [job, after] })
  const tx = await client()
  await tx.query('begin')
  const first = await deferq.dispatch('job', { n: 1 }, { tx, callback: 'after' })
  await tx.query('rollback')
  await failing('TASK_NOT_FOUND', deferq.getStatus(first.taskId))
  expect((await deferq.dispatch('job', { n: 1 })).outcome).toBe('created')
  expect(await workOff(deferq)).toMatchObject({ completed: 1 })
  expect((await deferq.stats()).totals).toEqual({ created: 1, completed: 1 })
})

test('a worker that waits is told at the commit', async () => {
  const place = await postgres()
  const deferq = place.deferq({ tasks: [job] })
  working(place.deferq({ tasks: [job] }), { sleep: 60_000 })
  await deferq.run('job', { n: 0 })
  const tx = await client()
  const schema = new URL(place.url as string).searchParams.get('schema')
  await eventually('it waits again', async () => {
    const { rows } = await tx.query(`select from ${schema}.waits where waiting`)
    return rows.length > 0
  })
  await tx.query('begin')
  const { taskId } = await deferq.dispatch('job', { n: 2 }, { tx })
  await tx.query('commit')
  expect(await deferq.result(taskId, { timeout: '5s' })).toBe(4)
})

test('two transactions dispatch one key: the second waits for the end of the first', async () => {
  const place = await postgres()
  const deferq = place.deferq({ tasks: [job] })
  for (const end of ['commit', 'rollback'] as const) {
    const [one, two] = await Promise.all([client(), client()])
    await Promise.all([one.query('begin'), two.query('begin')])
    const params = { n: end.length }
    const first = await deferq.dispatch('job', params, { tx: one })
    let answered = false
    const second = deferq.dispatch('job', params, { tx: two }).finally(() => {
      answered = true
    })
    // Another key is in nobody's way.
    await deferq.dispatch('job', { n: 100 + end.length })
    expect(answered).toBe(false)
    await one.query(end)
    const { taskId, outcome } = await second
    expect(outcome).toBe(end === 'commit' ? 'joined' : 'created')
    if (end === 'commit') expect(taskId).toBe(first.taskId)
    await two.query('commit')
    expect((await deferq.getStatus(taskId)).status).toBe('pending')
  }
})

test('any client with query(text, values) will do', async () => {
  const deferq = (await postgres()).deferq({ tasks: [job] })
  const tx = await client()
  const list = {
    query: async (text: string, values: unknown[]) =>
      (await tx.query(text, values)).rows.map(({ answer }) => ({ answer: JSON.stringify(answer) })),
  }
  expect((await deferq.dispatch('job', { n: 1 }, { tx: list })).outcome).toBe('created')
  expect((await deferq.dispatch('job', { n: 1 }, { tx: list })).outcome).toBe('joined')
  await failing('INVALID_OPTION', deferq.dispatch('job', { n: 2 }, { tx: {} }))
  await failing('INVALID_OPTION', deferq.dispatch('job', { n: 2 }, { tx: { query: async () => undefined } }))
})

test('what would wait for the commit, and a store without transactions of others, are refused', async () => {
  const deferq = (await postgres()).deferq({ tasks: [job] })
  const tx = await client()
  await failing('INVALID_OPTION', deferq.dispatch('job', { n: 1 }, { tx, callback: () => undefined }))
  await failing('INVALID_OPTION', deferq.run('job', { n: 1 }, { tx }))
  await failing(
    'INVALID_OPTION',
    memory()
      .deferq({ tasks: [job] })
      .dispatch('job', { n: 1 }, { tx }),
  )
  expect((await deferq.stats()).totals).toEqual({})
})

test('a transaction that has failed says so', async () => {
  const deferq = (await postgres()).deferq({ tasks: [job] })
  const tx = await client()
  await tx.query('begin')
  await tx.query('select 1 / 0').catch(() => undefined)
  const error = await failing('STORE_UNAVAILABLE', deferq.dispatch('job', { n: 1 }, { tx }))
  expect(error.message).toContain('transaction is aborted')
  await tx.query('rollback')
})

test('settle, cancel, promote and invalidate take effect when the transaction commits, and never when it is rolled back', async () => {
  const place = await postgres()
  const deferq = place.deferq({ tasks: [job] })
  const engine = await deferq.open()
  const status = async (id: string) => (await deferq.getStatus(id)).status
  const ids = { cancelled: '', promoted: '', settled: '' }
  ids.cancelled = (await deferq.dispatch('job', { n: 1 }, { delay: '1h' })).taskId
  ids.promoted = (await deferq.dispatch('job', { n: 2 }, { delay: '1h' })).taskId
  ids.settled = (await deferq.dispatch('job', { n: 3 })).taskId
  const { claimed } = await engine.claim({ names: ['job'], limit: 1, leaseMs: 60_000 })
  const [attempt] = claimed
  expect(attempt?.entry.id).toBe(ids.settled)
  const outcome = {
    id: ids.settled,
    token: attempt?.token as string,
    kind: 'completed',
    result: '6',
  } as const
  for (const end of ['rollback', 'commit'] as const) {
    const tx = await client()
    await tx.query('begin')
    expect(await engine.cancel([ids.cancelled], undefined, { tx })).toEqual(['cancelled'])
    expect(await engine.promote([ids.promoted], 5, { tx })).toEqual(['due'])
    expect((await engine.settle([outcome], undefined, { tx })).answers).toEqual(['settled'])
    expect(await status(ids.cancelled)).toBe('pending')
    expect(await status(ids.settled)).toBe('running')
    await tx.query(end)
    const done = end === 'commit'
    expect(await status(ids.cancelled)).toBe(done ? 'cancelled' : 'pending')
    expect(await status(ids.settled)).toBe(done ? 'completed' : 'running')
    const { dueAt } = await deferq.getStatus(ids.promoted)
    expect(dueAt.getTime() < Date.now() + 60_000).toBe(done)
  }
  for (const end of ['rollback', 'commit'] as const) {
    const tx = await client()
    await tx.query('begin')
    expect(await engine.invalidate({ keys: [ids.settled.slice(0, 64)] }, { tx })).toBe(1)
    await tx.query(end)
    const { outcome } = await deferq.dispatch('job', { n: 3 })
    expect(outcome).toBe(end === 'commit' ? 'created' : 'hit')
  }
  const want = { names: ['job'], limit: 1, leaseMs: 60_000 }
  await expect(engine.settle([outcome], want, { tx: await client() })).rejects.toMatchObject({
    code: 'INVALID_OPTION',
  })
})
