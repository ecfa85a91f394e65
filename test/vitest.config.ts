// Tells vitest where the tests are, and that they share real servers.
import { availableParallelism } from 'node:os'
import { fileURLToPath } from 'node:url'
import { defineConfig } from 'vitest/config'

const report = process.env.DEFERQ_TEST_REPORT

export default defineConfig({
  root: fileURLToPath(new URL('..', import.meta.url)),
  cacheDir: 'node_modules/.cache/vitest',
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/servers/global.ts'],
    pool: 'forks',
    // The servers want a core too: two files at a time on two cores, never more than four.
    maxWorkers: Math.min(4, Math.max(2, availableParallelism())),
    testTimeout: 20_000,
    hookTimeout: 60_000,
    teardownTimeout: 20_000,
    bail: 0,
    reporters: report ? ['default', ['json', { outputFile: report }]] : ['default'],
  },
})
