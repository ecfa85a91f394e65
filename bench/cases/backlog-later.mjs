// What claiming and settling what is due costs beside more and more that is scheduled for later.
export { engines, lasting, scheduled as contenders, size, slow, unit } from '../backlog.mjs'

export const title = 'backlog: claim and settle what is due, 100 at a time, beside 1,000 for later'
export const prepare = ({ dispatch }, count) => dispatch(count)
export const measure = ({ work }, count) => work(count)
