// Messages from the command line: deferq-worker --consume, and deferq queue, as real processes on a broker in a file.
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest'
import type { Transport } from '../../src/contract/transport.ts'
import { openTransport } from '../../src/transports/open.ts'
import { letter } from '../bridge/scene.ts'
import { eventually } from '../facade/places.ts'
import { Installation } from './program.ts'

let installed: Installation
let url: string
let transport: Transport
let env: Record<string, string>

beforeAll(() => {
  installed = new Installation()
  installed.write(
    'consumer.mjs',
    `import { DeferQ, NoRetryError, task } from 'deferq'
     import { Producer } from 'deferq/bridge'
     const producer = new Producer({ url: process.env.BROKER, queue: 'out' })
     export const handlers = { 'urn:mapped': 'import' }
     export default new DeferQ({ url: process.env.STORE, tasks: [
       task('urn:works', { run: async ({ n }, { log }) => {
         log.info({ n }, 'working')
         await producer.send('urn:done', { n })
       } }),
       task('import', { run: () => 1 }),
       task('urn:fails', { run: () => { throw new NoRetryError('out of stock') } }),
     ] })`,
  )
})
afterAll(() => installed.remove())

beforeEach(async () => {
  const folder = installed.empty()
  url = `sqlite:${join(folder, 'broker.db')}`
  env = { BROKER: url, STORE: `sqlite:${join(folder, 'store.db')}` }
  transport = await openTransport(url)()
  await transport.open()
  onTestFinished(() => transport.close())
})

const put = (queue: string, ...texts: string[]): Promise<void> =>
  transport.publish(texts.map((text) => ({ queue, body: Buffer.from(text) })))
const ready = async (queue: string): Promise<number | undefined> => (await transport.depth([queue]))[0]?.ready
const worker = (...args: string[]) =>
  installed.run('deferq-worker', ['--bootstrap=consumer.mjs', `--consume=${url}`, ...args], { env })
const queue = (...args: string[]) => installed.run('deferq', ['queue', ...args, `--url=${url}`])
const json = async (...args: string[]) => JSON.parse((await queue(...args, '--json')).stdout)

test('--consume brings messages until it is stopped, and their trace comes out again', async () => {
  await put('orders', letter('urn:works', { n: 1 }, { trace: 'trace-1' }), letter('urn:fails'), 'garbage')
  await put('invoices', letter('urn:mapped'))
  const running = installed.start(
    'deferq-worker',
    ['--bootstrap=consumer.mjs', `--consume=${url}`, '--queues=orders,invoices', '--json'],
    { env },
  )
  await eventually('both are set aside', async () => (await ready('orders.dlq')) === 2)
  await eventually('its message is out', async () => (await ready('out')) === 1)
  await running.until(/'import' completed/)
  running.kill('SIGTERM')
  const { code, stderr } = await running.ended
  expect(code).toBe(0)
  const lines = stderr
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line))
  const traced = lines
    .filter(({ traceId }) => traceId === 'trace-1')
    .map(({ message, msg }) => message ?? msg)
  expect(traced).toEqual(expect.arrayContaining(['a message was admitted', 'working']))
  const [out] = await transport.peek('out', 1)
  expect(JSON.parse(Buffer.from(out?.body ?? []).toString())).toMatchObject({
    job: 'urn:done',
    trace_id: 'trace-1',
    data: { n: 1 },
  })
  expect(await transport.depth(['orders', 'invoices'])).toMatchObject([
    { ready: 0, reserved: 0 },
    { ready: 0, reserved: 0 },
  ])
})

test('--stop-when-empty and --once work off what there is, dead letters included', async () => {
  await put('orders', letter('urn:works', { n: 1 }), letter('urn:fails'), letter('urn:unknown'))
  const once = await worker('--queues=orders', '--once')
  expect(once).toMatchObject({ code: 0, stderr: expect.stringMatching(/claimed=1 completed=1/) })
  expect(await ready('orders')).toBe(2)
  const rest = await worker('--queues=orders', '--stop-when-empty', '--unknown=dead_letter')
  expect(rest).toMatchObject({ code: 0, stderr: expect.stringMatching(/'urn:fails' failed for good/) })
  expect(await transport.depth(['orders', 'orders.dlq'])).toMatchObject([{ ready: 0 }, { ready: 2 }])
  const { messages } = await json('peek', 'orders.dlq')
  expect(messages.map(({ urn, reason, error }: Record<string, string>) => [urn, reason, error])).toEqual([
    ['urn:unknown', 'unknown_urn', expect.stringMatching(/no handler/)],
    ['urn:fails', 'failed', 'out of stock'],
  ])
})

test('depth, peek and redrive', async () => {
  await put('orders', letter('urn:a', { n: 1 }, { id: 'a1' }))
  for (const n of [1, 2, 3])
    await put(
      'orders.dlq',
      letter('urn:b', { customer: { id: n } }).replace(
        /\}$/,
        `,"dead_letter":{"reason":"${n === 3 ? 'poison' : 'failed'}","original_queue":"orders"}}`,
      ),
    )
  await put('orders.dlq', '\u001b[31mgarbage')
  const { stdout } = await queue('depth', 'orders,mails')
  expect(stdout).toMatch(/orders +1 +0 +0\norders\.dlq +4 +0 +0\nmails +0/)
  expect(await json('depth', 'orders')).toEqual({
    queues: [
      { queue: 'orders', ready: 1, delayed: 0, reserved: 0 },
      { queue: 'orders.dlq', ready: 4, delayed: 0, reserved: 0 },
    ],
  })
  const peeked = await queue('peek', 'orders.dlq')
  expect(peeked.stdout).not.toContain('\u001b')
  expect(peeked.stdout).toMatch(/urn:b .*failed/)
  expect(peeked.stdout).toMatch(/poison +undecodable/)
  expect((await json('peek', 'orders.dlq', '--limit=1')).messages).toHaveLength(1)
  expect((await json('peek', 'orders.dlq', '--select=data.customer.id=2')).messages).toMatchObject([
    { urn: 'urn:b' },
  ])
  const dry = await json('redrive', 'orders', '--reason=failed', '--dry-run')
  expect(dry).toMatchObject({ dryRun: true, count: 2, looked: 4, sent: { orders: 2 } })
  expect(await transport.depth(['orders', 'orders.dlq'])).toMatchObject([{ ready: 1 }, { ready: 4 }])
  const one = await queue('redrive', 'orders', '--reason=failed', '--max=1')
  expect(one).toMatchObject({
    code: 0,
    stdout: expect.stringMatching(/^Sent 1 to orders, of \d looked at in orders\.dlq/),
  })
  const chosen = await json(
    'redrive',
    'orders',
    '--select=data.customer.id=2',
    '--urn=urn:b',
    '--to=elsewhere',
  )
  expect(chosen).toMatchObject({ count: 1, sent: { elsewhere: 1 } })
  expect(await transport.depth(['orders', 'orders.dlq', 'elsewhere'])).toMatchObject([
    { ready: 2 },
    { ready: 2 },
    { ready: 1 },
  ])
  const [back] = await transport.peek('elsewhere', 1)
  expect(JSON.parse(Buffer.from(back?.body ?? []).toString())).not.toHaveProperty('dead_letter')
  expect(await json('redrive', 'orders', '--urn=urn:none')).toMatchObject({ count: 0, looked: 2 })
})

test('mistakes are told at once, and what to do', async () => {
  const wrong = async (
    code: number,
    text: RegExp,
    ended: Promise<{ code: number | null; stderr: string }>,
  ) => {
    const { code: found, stderr } = await ended
    expect(stderr).toMatch(text)
    expect(found).toBe(code)
  }
  const deferq = (...args: string[]) => installed.run('deferq', ['queue', ...args])
  const worked = (...args: string[]) =>
    installed.run('deferq-worker', ['--bootstrap=consumer.mjs', ...args], { env })
  await Promise.all([
    wrong(2, /queue needs <queue>/, deferq('depth')),
    wrong(2, /Did you mean redrive\?/, deferq('redriv', 'orders')),
    wrong(2, /Where is the broker\?/, deferq('depth', 'orders')),
    wrong(2, /depth has no use for --max/, queue('depth', 'orders', '--max=1')),
  ])
  await Promise.all([
    wrong(2, /write --select=path=value/, queue('redrive', 'orders', '--select=urn')),
    wrong(1, /INVALID_URL.*names no transport/, deferq('depth', 'orders', '--url=gopher://x')),
    wrong(1, /STORE_UNAVAILABLE/, deferq('depth', 'orders', '--url=redis://127.0.0.1:1')),
    wrong(1, /from where the messages are taken/, queue('redrive', 'orders', '--to=orders.dlq')),
  ])
  await Promise.all([
    wrong(2, /Which queues of the broker/, worked(`--consume=${url}`)),
    wrong(2, /--unknown is said of messages/, worked('--unknown=delete')),
    wrong(
      2,
      /use fail, delete, release or dead_letter/,
      worked(`--consume=${url}`, '--queues=a', '--unknown=drop'),
    ),
    wrong(1, /INVALID_URL/, worked('--consume=gopher://x', '--queues=a')),
    wrong(1, /backoff\[0\]/, worked(`--consume=${url}`, '--queues=a', '--backoff=soon')),
  ])
  const { stdout } = await installed.run('deferq', ['queue', '--help'])
  expect(stdout).toMatch(/redrive +from <queue>\.dlq back/)
  expect((await installed.run('deferq-worker', ['--help'])).stdout).toMatch(/--consume=url/)
})
