// Processes that die, freeze and stop, with Redis as the store they share.
import { redis } from '../facade/places.ts'
import { faults } from './faults.ts'

faults(redis)
