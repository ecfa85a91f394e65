// Processes that die, freeze and stop, with SQLite as the store they share.
import { sqlite } from '../facade/places.ts'
import { faults } from './faults.ts'

faults(sqlite)
