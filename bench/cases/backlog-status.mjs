// What asking for a status costs beside more and more that waits.
export { contenders, engines, lasting, size, slow, unit } from '../backlog.mjs'

export const title = 'backlog: getStatus, 100 callers, beside 1,000 that wait'
export const prepare = ({ dispatch, work }, count) => dispatch(count).then(() => work(count))
export const measure = ({ status }, count) => status(count)
