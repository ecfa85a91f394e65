// From URLs to transports.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { transportConformance } from '../../src/conformance/index.ts'
import { MemoryTransport, openTransport } from '../../src/transports/open.ts'
import { sharedUrl } from '../servers/shared.ts'
import { bytes, newQueue, opened, take, texts } from './places.ts'

test('a URL names its transport, which carries messages', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'deferq-test-'))
  onTestFinished(() => rmSync(folder, { recursive: true, force: true }))
  const urls: Record<string, string> = {
    'memory:': 'memory',
    [`sqlite:${join(folder, 'a', 'store.db')}`]: 'sqlite',
    [sharedUrl('postgres')]: 'postgres',
    [sharedUrl('redis')]: 'redis',
    [sharedUrl('cluster')]: 'redis',
    [sharedUrl('sentinel')]: 'redis',
  }
  for (const [url, name] of Object.entries(urls)) {
    const transport = await opened(await openTransport(url)())
    expect(transport.name).toBe(name)
    const queue = newQueue()
    await transport.publish([{ queue, body: bytes(url) }])
    const taken = await take(transport, queue)
    expect(texts(taken)).toEqual([url])
    expect(await transport.ack(taken)).toEqual(['done'])
    for (const caveat of transport.caveats) expect(caveat).toMatch(/^[A-Z].*\.$/)
  }
})

test('a URL that names none is refused at once, without its password', () => {
  for (const url of ['', 'nonsense', 'mysql://user:secret@host/db', 'http://x']) {
    const refused = (): unknown => openTransport(url)
    expect(refused).toThrow(expect.objectContaining({ code: 'INVALID_URL' }))
    expect(refused).toThrow(expect.not.stringContaining('secret'))
  }
})

test('each memory transport has a broker of its own, unless one is shared', async () => {
  const [one, two] = [new MemoryTransport(), new MemoryTransport()]
  const queue = newQueue()
  await one.publish([{ queue, body: bytes('x') }])
  expect(await take(two, queue)).toEqual([])
  expect(texts(await take(one, queue))).toEqual(['x'])
})

test('the suite shows what is skipped and why, and refuses to skip what is no case', () => {
  const factory = { name: 'x', create: () => Promise.reject(new Error('unused')) }
  const all = transportConformance(factory)
  const [first] = all
  const name = first?.name.split(': ').slice(2).join(': ') as string
  const skipped = transportConformance({ ...factory, skips: { [name]: 'it can’t' } })
  expect(skipped.filter(({ skip }) => skip !== undefined)).toEqual([
    expect.objectContaining({ name: first?.name, skip: 'it can’t' }),
  ])
  expect(new Set(all.map(({ name }) => name)).size).toBe(all.length)
  expect(() => transportConformance({ ...factory, skips: { 'no such case': 'why' } })).toThrow(/no such case/)
})
