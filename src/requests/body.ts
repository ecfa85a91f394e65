// Reads the body of an answer: decompressed, up to a number of bytes, as text.
import type { IncomingMessage } from 'node:http'
import { Transform } from 'node:stream'
import { createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib'

export const ACCEPT_ENCODING = 'gzip, deflate, br'
// Nobody compresses more often than that in good faith.
const MAX_CODINGS = 2

export interface Body {
  text: string
  /** It goes on after that: too long, too slow, broken off, or not to be decompressed. */
  cut: boolean
}

/**
 * At most `cap` bytes after decompression. It never fails: the status has been read, and says how the request went,
 * whatever becomes of the body. What is not wanted is not read: the connection ends.
 */
export function readBody(answer: IncomingMessage, cap: number, signal: AbortSignal): Promise<Body> {
  const decoders = decodersOf(answer.headers['content-encoding'])
  const chunks: Buffer[] = []
  let bytes = 0
  return new Promise((resolve) => {
    const end = (cut: boolean): void => {
      signal.removeEventListener('abort', abort)
      for (const stream of [answer, ...(decoders ?? [])]) {
        // What is destroyed may still have an error to tell.
        stream.on('error', () => {})
        if (cut) stream.destroy()
      }
      const decoder = new TextDecoder()
      // `stream`: half of a character at the cut is left out.
      resolve({ text: decoder.decode(Buffer.concat(chunks), { stream: cut }), cut })
    }
    const abort = (): void => end(true)
    if (signal.aborted || decoders === undefined) return end(true)
    signal.addEventListener('abort', abort, { once: true })
    let last: IncomingMessage | Transform = answer
    for (const decoder of decoders) last = last.pipe(decoder)
    // pipe() passes no errors on; a connection that breaks off ends everything.
    for (const stream of [answer, ...decoders]) stream.on('error', abort)
    answer.on('aborted', abort)
    last.on('data', (chunk: Buffer) => {
      const room = cap - bytes
      bytes += chunk.length
      chunks.push(chunk.length > room ? chunk.subarray(0, room) : chunk)
      if (chunk.length > room) end(true)
    })
    last.on('end', () => end(false))
  })
}

/** In the order in which they are to be undone; undefined where one is not known. */
function decodersOf(header: string | undefined): Transform[] | undefined {
  const codings = (header ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity')
  if (codings.length > MAX_CODINGS) return undefined
  const decoders = codings.reverse().map(decoderOf)
  return decoders.includes(undefined) ? undefined : (decoders as Transform[])
}

function decoderOf(coding: string): Transform | undefined {
  if (coding === 'gzip' || coding === 'x-gzip') return createGunzip()
  if (coding === 'br') return createBrotliDecompress()
  return coding === 'deflate' ? inflate() : undefined
}

/** Half of the world sends deflate without the zlib header that it should have; its first byte tells. */
function inflate(): Transform {
  let inner: Transform | undefined
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (inner === undefined) {
        inner = ((chunk[0] ?? 0) & 0x0f) === 8 ? createInflate() : createInflateRaw()
        inner.on('data', (part) => this.push(part))
        inner.on('error', (error) => this.destroy(error))
      }
      inner.write(chunk, () => done())
    },
    flush(done) {
      if (inner === undefined) return done()
      inner.on('end', done).end()
    },
    destroy(error, done) {
      inner?.destroy()
      done(error)
    },
  })
}
