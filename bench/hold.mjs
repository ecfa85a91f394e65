// A process that leaves tasks waiting in a store, and ends.
import { hold } from './backlog.mjs'
import { openDeferq } from './contenders.mjs'

const { at, backlog, later } = JSON.parse(process.argv[2])
const opened = await openDeferq(at)
await hold(opened, backlog, later)
await opened.close()
