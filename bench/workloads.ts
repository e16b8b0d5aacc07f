import { GIB, KIB, MIB } from './inputs.js'
import { coldStart, driverLife, snapshot, storeLife } from './work/containers.js'
import { copyOnWrite, throughLayers } from './work/copy-on-write.js'
import { benchsuite } from './work/benchsuite.js'
import { graphbench } from './work/graphbench.js'
import { imageWorkloads } from './work/image.js'
import { changes, commit, diff, edits } from './work/layer.js'
import { writtenInside } from './work/shared-blocks.js'
import { apply, importTar, tars } from './work/unpack.js'
import type { Workload } from './workload.js'

/** All workloads, in the order in which they run. `--only` selects by name prefix. */
export const workloads: readonly Workload[] = [
  copyOnWrite('first-write', 0, 400),
  copyOnWrite('first-write', 4 * KIB, 400),
  copyOnWrite('first-write', MIB, 20),
  copyOnWrite('first-write', 100 * MIB, 1),
  copyOnWrite('first-write', GIB, 1),
  copyOnWrite('second-write', 4 * KIB, 400),
  copyOnWrite('second-write', MIB, 20),
  copyOnWrite('append', MIB, 20),
  copyOnWrite('middle-write', MIB, 20),
  copyOnWrite('middle-write', 100 * MIB, 1),
  writtenInside(4 * KIB),
  writtenInside(MIB),
  copyOnWrite('chmod', MIB, 20),
  copyOnWrite('unlink', 4 * KIB, 400),
  copyOnWrite('rename', 4 * KIB, 400),
  copyOnWrite('create', 4 * KIB, 400),
  throughLayers('open-read-close', 1),
  throughLayers('open-read-close', 2),
  throughLayers('open-read-close', 20),
  throughLayers('open-read-close', 128),
  throughLayers('readdir', 1),
  throughLayers('readdir', 20),
  throughLayers('readdir', 128),
  driverLife(1),
  driverLife(20),
  driverLife(128),
  snapshot(10),
  snapshot(100_000),
  storeLife(1),
  storeLife(1000),
  coldStart,
  ...imageWorkloads,
  diff(edits.few),
  diff(edits.many),
  diff(edits.huge),
  diff(edits.fewInMany),
  changes(edits.few),
  changes(edits.many),
  changes(edits.fewInMany),
  commit(edits.few, false),
  commit(edits.few, true),
  commit(edits.many, false),
  commit(edits.many, true),
  commit(edits.huge, false),
  commit(edits.huge, true),
  commit(edits.fewInMany, false),
  commit(edits.fewInMany, true),
  apply(tars.many),
  apply(tars.huge),
  importTar(tars.many),
  importTar(tars.huge),
  ...graphbench,
  benchsuite,
]
