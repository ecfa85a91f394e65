#!/usr/bin/env node
// The program `deferq-worker`: all that it does stands in src/cli/worker.ts.
import { workerMain } from '../src/cli/worker.ts'

await workerMain(process.argv.slice(2))
