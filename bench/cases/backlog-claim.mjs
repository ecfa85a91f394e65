// What claiming and settling costs beside more and more that waits.
export { contenders, engines, lasting, size, slow, unit } from '../backlog.mjs'

export const title = 'backlog: claim and settle, 100 at a time, beside 1,000 that wait'
export const prepare = ({ dispatch }, count) => dispatch(count)
export const measure = ({ work }, count) => work(count)
