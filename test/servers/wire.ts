// Speaks just enough of the Redis protocol to ask a server one question, so that no client library is needed.
import { connect } from 'node:net'

export type Reply = string | number | null | Reply[]

/** Sends one command over a connection of its own and answers the reply; an error reply is thrown. */
export function send(port: number, args: readonly (string | number)[], timeoutMs = 2_000): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: '127.0.0.1' })
    let text = ''
    const end = (finish: () => void) => {
      socket.destroy()
      finish()
    }
    socket.setTimeout(timeoutMs, () =>
      end(() => reject(new Error(`127.0.0.1:${port}: no answer in ${timeoutMs} ms`))),
    )
    socket.on('error', (error) => end(() => reject(error)))
    socket.on('close', () => reject(new Error(`127.0.0.1:${port} hung up on ${args[0]}`)))
    socket.on('data', (chunk) => {
      text += chunk.toString('latin1')
      const parsed = parse(text, 0)
      if (!parsed) return
      end(() => (parsed.reply instanceof Error ? reject(parsed.reply) : resolve(parsed.reply)))
    })
    socket.write(
      `*${args.length}\r\n${args.map((a) => `$${Buffer.byteLength(`${a}`)}\r\n${a}\r\n`).join('')}`,
    )
  })
}

/** The value of `name:` in the text that INFO and CLUSTER INFO answer. */
export function field(info: Reply, name: string): string | undefined {
  return new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(String(info))?.[1]
}

// Undefined while the text is still incomplete: the caller waits for more and starts over.
function parse(text: string, at: number): { reply: Reply | Error; next: number } | undefined {
  const eol = text.indexOf('\r\n', at)
  if (eol < 0) return undefined
  const head = text.slice(at + 1, eol)
  const next = eol + 2
  switch (text[at]) {
    case '+':
      return { reply: head, next }
    case '-':
      return { reply: new Error(head), next }
    case ':':
      return { reply: Number(head), next }
    case '$': {
      const size = Number(head)
      if (size < 0) return { reply: null, next }
      if (text.length < next + size + 2) return undefined
      return { reply: text.slice(next, next + size), next: next + size + 2 }
    }
    case '*': {
      const replies: Reply[] = []
      let from = next
      for (let i = 0; i < Number(head); i++) {
        const one = parse(text, from)
        if (!one) return undefined
        replies.push(one.reply instanceof Error ? one.reply.message : one.reply)
        from = one.next
      }
      return { reply: replies, next: from }
    }
    default:
      return { reply: new Error(`not a Redis reply: ${text.slice(at, at + 40)}`), next }
  }
}
