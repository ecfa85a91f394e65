// The command that shows what deferq does, with a store and workers of its own.
import { command } from '../command.ts'

const demo = command({
  name: 'demo',
  takes: '',
  about: 'see it work: a store, workers and callers of its own',
  flags: {
    once: { kind: 'switch', about: 'show it once, and end' },
    port: { kind: 'whole', value: 'number', most: 65_535, about: 'the port of its page' },
  },
  async run({ values }): Promise<number> {
    const ending = new AbortController()
    const end = (): void => {
      // The second signal has its usual effect: a demo that hangs can still be ended.
      for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, end)
      ending.abort()
    }
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, end)
    const { demo: show } = await import('../../demo/index.ts')
    const { once = false, port } = values
    return show({ once, signal: ending.signal, ...(port === undefined ? {} : { port }) })
  },
})

export const DEMO = [demo]
