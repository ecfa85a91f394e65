// A consumer process that is killed between reserve and ack, on every transport that outlives a process.
import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { openTransport } from '../../src/transports/open.ts'
import { start } from '../faults/processes.ts'
import { sharedUrl } from '../servers/shared.ts'
import { bytes, newQueue, opened, take, texts } from './places.ts'

async function fileUrl(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'deferq-test-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return `sqlite:${join(folder, `${randomBytes(3).toString('hex')}.db`)}`
}

const PLACES: Record<string, () => string | Promise<string>> = {
  redis: () => sharedUrl('redis'),
  'redis cluster': () => sharedUrl('cluster'),
  sqlite: fileUrl,
  postgres: () => sharedUrl('postgres'),
}

test('what a killed consumer held is handed out again, and counted', async () => {
  const kill = async (url: string): Promise<unknown> => {
    const queue = newQueue()
    const transport = await opened(await openTransport(url)())
    await transport.publish([{ queue, body: bytes('poison') }])
    const child = await start('../transports/consumer', 'hold', url, queue, '1500')
    child.signal('SIGKILL')
    const { signal, said } = await child.ended()
    const again = await take(transport, queue, { waitMs: 10_000 })
    const deliveries = again.map(({ deliveries }) => deliveries)
    return { signal, said, again: texts(again), deliveries, answers: await transport.ack(again) }
  }
  const died = { signal: 'SIGKILL', said: 'poison\n', again: ['poison'], deliveries: [1], answers: ['done'] }
  const names = Object.keys(PLACES)
  const found = await Promise.all(names.map(async (name) => kill(await (PLACES[name] as () => string)())))
  expect(Object.fromEntries(names.map((name, index) => [name, found[index]]))).toEqual(
    Object.fromEntries(names.map((name) => [name, died])),
  )
})

test('sqlite: four processes share a file, and each message has one consumer', async () => {
  const url = await fileUrl()
  const queue = newQueue()
  const transport = await opened(await openTransport(url)())
  const names = Array.from({ length: 400 }, (_, index) => `m${index}`)
  await transport.publish(names.slice(0, 200).map((name) => ({ queue, body: bytes(name) })))
  const children = await Promise.all(
    Array.from({ length: 4 }, () => start('../transports/consumer', 'drain', url, queue)),
  )
  for (let at = 200; at < 400; at += 20) {
    await transport.publish(names.slice(at, at + 20).map((name) => ({ queue, body: bytes(name) })))
  }
  const ends = await Promise.all(children.map((child) => child.ended()))
  expect(ends.map(({ code }) => code)).toEqual([0, 0, 0, 0])
  const acked = ends.flatMap(({ said }) => said.trim().split('\n').filter(Boolean))
  expect(acked.sort()).toEqual(names.map((name) => `done ${name}`).sort())
})
