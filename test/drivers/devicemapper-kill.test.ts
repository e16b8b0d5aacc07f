/** @module-tag device-mapper */
import { killing } from '../faults/killing.js'
import { expectSound, noThinPools } from './thin-fixture.js'

killing({
  name: 'devicemapper',
  driver: 'devicemapper',
  reason: noThinPools,
  rounds: 10,
  longest: 1500,
  expectSound,
})
