// The conformance suite over the composed engine with every part in memory, and with results in a store of their own.
import { Keyv } from 'keyv'
import { test } from 'vitest'
import { conformance } from '../../src/conformance/index.ts'
import { memoryFactory } from './memory.ts'

for (const { name, run } of conformance(memoryFactory('composed of memory'))) test(name, run)
for (const { name, run } of conformance(memoryFactory('composed, results apart', { results: new Keyv() })))
  test(name, run)
