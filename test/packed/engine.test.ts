// The engine of the guide, compiled against the packed package, passes the whole conformance suite.
import { onTestFinished, test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import { MemoryEngine } from '../../src/engines/memory/index.ts'
import { install } from './package.ts'

test('examples/engine.ts passes the conformance suite from the packed package', async ({ expect }) => {
  const cases = conformance({
    name: 'map',
    create: async () => ({
      unitMs: 1_000,
      connect: async () => new MemoryEngine(),
      advance: async () => {},
      close: async () => {},
    }),
  })
  const installed = await install()
  onTestFinished(() => installed.remove())
  await installed.copy('examples/engine.ts', 'examples/engine.test.ts')
  await installed.compile()
  const report = await installed.test('engine.test.js')
  expect(report.match(/^ *not ok .*$/gm) ?? []).toEqual([])
  expect(Number(/^# pass (\d+)$/m.exec(report)?.[1])).toBe(cases.length)
}, 120_000)
