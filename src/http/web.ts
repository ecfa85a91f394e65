// The web's Request and Response on the one side, calls and answers on the other.
import type { Answer, Call } from './call.ts'
import { consumed, gather } from './call.ts'

export function callOf(request: Request): Call {
  const { pathname, search } = new URL(request.url)
  return {
    method: request.method,
    target: pathname + search,
    header: (name) => request.headers.get(name) ?? undefined,
    async body(mostBytes) {
      if (request.bodyUsed) throw consumed()
      if (request.body === null) return new Uint8Array()
      const chunks = request.body[Symbol.asyncIterator]() as AsyncIterator<Uint8Array>
      try {
        return await gather(chunks, request.headers.get('content-length') ?? undefined, mostBytes)
      } finally {
        // What was refused half way is not read to its end; a stream that has ended does not mind.
        await chunks.return?.().catch(() => {})
      }
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
