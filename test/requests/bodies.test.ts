// Bodies of answers: decompressed, capped, never waited for longer than the request may take, and never a reason to send twice.
import { brotliCompressSync, deflateRawSync, deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, test } from 'vitest'
import type { RequestResult } from '../../src/index.ts'
import { receiver, sending } from './receiver.ts'

const TEXT = 'grüße, '.repeat(200)
const CODINGS = {
  gzip: gzipSync,
  'x-gzip': gzipSync,
  deflate: deflateSync,
  'deflate ': deflateRawSync,
  br: brotliCompressSync,
  'gzip, br': (text: string) => brotliCompressSync(gzipSync(text)),
  identity: (text: string) => Buffer.from(text),
} as const

async function fetched(
  answer: Parameters<typeof receiver>[0],
  { maxBody, timeout = 2_000 }: { maxBody?: number; timeout?: number } = {},
): Promise<{ result: RequestResult; count: number; tookMs: number }> {
  const { url, got } = await receiver(answer)
  const { deferq } = sending({ http: maxBody === undefined ? {} : { maxBody } })
  const begun = performance.now()
  const { taskId } = await deferq.request({ url, timeout, attemptInterval: 1 })
  const result = await deferq.result<RequestResult>(taskId, { timeout: 15_000 })
  return { result, count: got.length, tookMs: performance.now() - begun }
}

describe('a body is decompressed', () => {
  for (const [coding, compress] of Object.entries(CODINGS)) {
    test(coding, async () => {
      const { result } = await fetched((_got, response) => {
        response.writeHead(200, { 'content-encoding': coding.trim() }).end(compress(TEXT))
      })
      expect(result).toMatchObject({ body: TEXT, cut: false })
    })
  }
})

describe('a body is capped after decompression', () => {
  const bomb = Buffer.alloc(200 * 1024 * 1024)
  for (const [coding, compress] of [
    ['gzip', gzipSync],
    ['deflate', deflateSync],
    ['br', (data: Buffer) => brotliCompressSync(data, { params: { 1: 1 } })],
  ] as const) {
    test(`a bomb in ${coding}`, async () => {
      const packed = compress(bomb)
      expect(packed.length).toBeLessThan(bomb.length / 500)
      const before = process.memoryUsage().rss
      const { result, count } = await fetched((_got, response) => {
        response.writeHead(200, { 'content-encoding': coding }).end(packed)
      })
      expect(result).toMatchObject({ status: 200, cut: true })
      expect(result.body.length).toBe(65_536)
      expect(count).toBe(1)
      expect(process.memoryUsage().rss - before).toBeLessThan(100 * 1024 * 1024)
    })
  }

  test('one that was not compressed, and goes on for ever', async () => {
    let closed = false
    const { result } = await fetched((_got, response) => {
      response.on('close', () => (closed = true))
      const more = (): void => {
        while (!closed && response.write('x'.repeat(16_384)));
      }
      response.on('drain', more)
      more()
    })
    expect(result).toMatchObject({ cut: true, body: 'x'.repeat(65_536) })
  })

  test('to the byte, and never within a character', async () => {
    const answer = (_got: unknown, response: { end(text: string): void }): void => response.end('aé€')
    for (const [maxBody, body, cut] of [
      [0, '', true],
      [1, 'a', true],
      [2, 'a', true],
      [3, 'aé', true],
      [5, 'aé', true],
      [6, 'aé€', false],
    ] as const)
      expect((await fetched(answer as never, { maxBody })).result).toMatchObject({ body, cut })
  })
})

describe('the status says how it went, whatever becomes of the body', () => {
  test('a body that drips ends with the time-out, and the request is not sent again', async () => {
    const { result, count, tookMs } = await fetched(
      (_got, response) => {
        response.writeHead(200)
        const timer = setInterval(() => response.write('.'), 20)
        response.on('close', () => clearInterval(timer))
      },
      { timeout: 300 },
    )
    expect(result).toMatchObject({ status: 200, cut: true })
    expect(result.body).toMatch(/^\.{3,}$/)
    expect(count).toBe(1)
    expect(tookMs).toBeLessThan(1_500)
  })

  test('one that breaks off', async () => {
    const { result, count } = await fetched((_got, response) => {
      response.writeHead(200, { 'content-length': '1000' })
      response.write('half', () => response.destroy())
    })
    expect(result).toMatchObject({ status: 200, cut: true, body: 'half' })
    expect(count).toBe(1)
  })

  test('one that is not what it says', async () => {
    for (const coding of ['gzip', 'br', 'deflate', 'zstd', 'gzip, gzip, gzip']) {
      const { result, count } = await fetched((_got, response) => {
        response.writeHead(200, { 'content-encoding': coding }).end('no such thing')
      })
      expect(result, coding).toMatchObject({ status: 200, cut: true, body: '' })
      expect(count).toBe(1)
    }
  })

  test('none at all', async () => {
    for (const coding of ['identity', 'gzip', 'br', 'deflate']) {
      const { result } = await fetched((_got, response) => {
        response.writeHead(204, { 'content-encoding': coding }).end()
      })
      expect(result, coding).toMatchObject({ status: 204, body: '' })
    }
  })

  test('bytes that are no text', async () => {
    const { result } = await fetched((_got, response) => response.end(Buffer.from([0x61, 0xff, 0xd8, 0x62])))
    expect(result).toMatchObject({ body: 'a\ufffd\ufffdb', cut: false })
  })
})
