// The engine and the transport of the guides, compiled against the packed package, pass the whole conformance suites.
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Case } from '../../src/conformance/index.ts'
import { conformance, transportConformance } from '../../src/conformance/index.ts'
import type { Installed } from './package.ts'
import { install } from './package.ts'

const never = async (): Promise<never> => {
  throw new Error('these cases are counted, not run')
}

let installed: Installed
beforeAll(async () => {
  installed = await install()
  await installed.copy(
    ...['engine', 'transport'].flatMap((each) => [`examples/${each}.ts`, `examples/${each}.test.ts`]),
  )
  await installed.compile()
})
afterAll(() => installed.remove())

async function passes(file: string, cases: Case[]): Promise<void> {
  const report = await installed.test(file)
  expect(report.match(/^ *not ok .*$/gm) ?? []).toEqual([])
  expect(Number(/^# pass (\d+)$/m.exec(report)?.[1])).toBe(cases.length)
}

test('examples/engine.ts passes the conformance suite', () =>
  passes('engine.test.js', conformance({ name: 'map', create: never })))

test(
  'examples/transport.ts passes the conformance suite of transports',
  () => passes('transport.test.js', transportConformance({ name: 'list', create: never })),
  60_000,
)
