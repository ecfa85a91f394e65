#!/usr/bin/env node
// The program `deferq`: all that it does stands in src/cli/main.ts.
import { main } from '../src/cli/main.ts'

await main(process.argv.slice(2))
