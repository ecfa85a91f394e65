// The web's Request and Response on the one side, calls and answers on the other.
import { environment } from '../base/environment.ts'
import type { Answer, Call } from './call.ts'
import { BODY_MS, consumed, overdue, tooLarge } from './call.ts'

export function callOf(request: Request): Call {
  const { pathname, search } = new URL(request.url)
  return {
    method: request.method,
    target: pathname + search,
    header: (name) => request.headers.get(name) ?? undefined,
    async body(mostBytes) {
      if (request.bodyUsed) throw consumed()
      if (request.body === null) return new Uint8Array()
      if (Number(request.headers.get('content-length')) > mostBytes) throw tooLarge(mostBytes)
      return gather(request.body.getReader(), mostBytes)
    },
    get signal() {
      return request.signal
    },
    peer: undefined,
  }
}

export function responseOf({ status, headers, body }: Answer): Response {
  return new Response(body ?? null, { status, headers })
}

async function gather(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  mostBytes: number,
): Promise<Uint8Array> {
  let late = false
  // Ends the read that is under way, as if the body were over.
  const timer = environment
    .setTimeout(() => {
      late = true
      void reader.cancel().catch(() => {})
    }, BODY_MS)
    .unref()
  const parts: Uint8Array[] = []
  let size = 0
  try {
    for (;;) {
      const { done, value } = await reader.read()
      if (late) throw overdue()
      if (done) return parts.length === 1 ? (parts[0] as Uint8Array) : Buffer.concat(parts, size)
      size += value.byteLength
      if (size > mostBytes) throw tooLarge(mostBytes)
      parts.push(value)
    }
  } finally {
    environment.clearTimeout(timer)
    // What was refused half way is not read to its end; a stream that has ended does not mind.
    void reader.cancel().catch(() => {})
  }
}
