import { GIB, KIB, MIB } from './inputs.js'
import { coldStart, driverLife, storeLife } from './work/containers.js'
import { copyOnWrite, throughLayers } from './work/copy-on-write.js'
import type { Workload } from './workload.js'

/** All that is measured, in the order in which it runs. `--only` takes names, or how they begin. */
export const workloads: readonly Workload[] = [
  copyOnWrite('first-write', 0, 100),
  copyOnWrite('first-write', 4 * KIB, 100),
  copyOnWrite('first-write', MIB, 20),
  copyOnWrite('first-write', 100 * MIB, 1),
  copyOnWrite('first-write', GIB, 1),
  copyOnWrite('second-write', 4 * KIB, 100),
  copyOnWrite('second-write', MIB, 20),
  copyOnWrite('append', MIB, 20),
  copyOnWrite('middle-write', MIB, 20),
  copyOnWrite('middle-write', 100 * MIB, 1),
  copyOnWrite('chmod', MIB, 20),
  copyOnWrite('unlink', 4 * KIB, 100),
  copyOnWrite('rename', 4 * KIB, 100),
  copyOnWrite('create', 4 * KIB, 100),
  throughLayers('open-read-close', 1),
  throughLayers('open-read-close', 20),
  throughLayers('open-read-close', 128),
  throughLayers('readdir', 1),
  throughLayers('readdir', 20),
  throughLayers('readdir', 128),
  driverLife(1),
  driverLife(20),
  driverLife(128),
  storeLife(1),
  storeLife(1000),
  coldStart,
]
