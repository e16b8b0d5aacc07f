import { storeError } from '../../errors.js'
import type { ByteString } from '../../fs/bytes.js'
import { HostFs } from '../../fs/host/host-fs.js'
import type { ApplyTarget } from '../../tar/apply.js'
import type { HostFsSpec, SyncFsSpec } from '../../fs/spec.js'
import { diffParts, prepareDiff, type DiffSource, type OpenTrees } from '../../tar/diff.js'
import { LayerIntake, type LayerResult, type LayerSinks } from './layer-intake.js'
import { OwnRecord } from '../record/layer-record.js'
import { inPace, type Pace } from './pace.js'
import type { RecordEnd } from '../record/record-notes.js'
import { GatheredRecord, RemoteRecord } from '../record/remote-record.js'
import { syncTrees } from './sync.js'

/**
 * Reads the changes of a writable layer once. Makes the tar's digest, its tar-split and, with a target, the new layer's
 * files. Without a target the files stay where they are. Failure and durability are as in an unpack. Progress counts
 * bytes of the tar.
 */
export interface CommitJob extends LayerSinks, CommitTimes {
  readonly kind: 'commit'
  readonly source: DiffSource
  readonly target?: ApplyTarget | undefined
}

export interface CommitTimes {
  /** Modification times later than this, in ns, become this time. @default times stay */
  readonly clampMtimeNs?: bigint | undefined
  /** The tree itself becomes the layer, so a time clamped in the tar is set in the tree too. */
  readonly adopts?: boolean | undefined
}

/** A {@link CommitJob} whose trees may be filesystems of this thread. */
export interface Committing extends LayerSinks, CommitTimes {
  readonly source: Parameters<typeof prepareDiff>[0]
  /** Connects to another thread that makes the record at the same time. */
  readonly recorder?: RecordEnd | undefined
}

export async function commitLayer(job: Committing, pace: Pace): Promise<LayerResult> {
  try {
    const { splitFile, recorder, clampMtimeNs, adopts = false } = job
    const clamped: ByteString[] = []
    const onClamped = adopts ? (path: ByteString) => void clamped.push(path) : undefined
    const record =
      recorder === undefined
        ? await OwnRecord.open(splitFile)
        : new GatheredRecord(new RemoteRecord(recorder, splitFile, () => pace.check()))
    using intake = new LayerIntake(job, record)
    const prepared = await inPace(prepareDiff(job.source), pace)
    const contentBuffer = record instanceof GatheredRecord ? () => record.space() : undefined
    for (const part of diffParts(prepared, { contentBuffer, clampMtimeNs, onClamped })) {
      intake.bytes(part.bytes)
      intake.part(part)
      pace.progress(intake.tarSize)
      const turn = pace.yieldIfDue()
      if (turn !== undefined) await turn
    }
    if (clamped.length > 0) await setTimes(job.source, clamped, clampMtimeNs, pace)
    return intake.finish()
  } catch (error) {
    throw storeError(error, 'SYSTEM', 'could not read the changes of the layer')
  }
}

/** Durable in a host tree. Runs after the last comparison: a new time may equal the one in the lower tree. */
async function setTimes(
  source: Committing['source'],
  paths: readonly ByteString[],
  mtimeNs: bigint | undefined,
  pace: Pace,
): Promise<void> {
  const host = 'form' in source ? new HostFs({ ...topOf(source.upper), readOnly: false }) : undefined
  try {
    const fs = host ?? (source as OpenTrees).upper
    for (const path of paths) {
      fs.utimes(path, undefined, mtimeNs)
      const turn = pace.yieldIfDue()
      if (turn !== undefined) await turn
    }
  } finally {
    host?.close()
  }
  if (host !== undefined) syncTrees([host.hostPath])
}

/** The directory that holds the changes of a tree. */
function topOf(spec: SyncFsSpec): HostFsSpec {
  if (spec.kind === 'host') return spec
  return spec.upper ?? (spec.lowers[0] as HostFsSpec)
}
