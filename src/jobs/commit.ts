import { storeError } from '../errors.js'
import type { ApplyTarget } from '../tar/apply.js'
import { diffParts, prepareDiff, type DiffSource } from '../tar/diff.js'
import { LayerIntake, type LayerResult, type LayerSinks } from './layer-intake.js'
import { OwnRecord } from './layer-record.js'
import { inPace, type Pace } from './pace.js'
import type { RecordEnd } from './record-notes.js'
import { GatheredRecord, RemoteRecord } from './remote-record.js'

/**
 * Reads what changed in a writable layer, once: its tar's digest, its tar-split, and with a target the new layer's files.
 * Without a target the files stay where they are. Failure and durability are as in an unpack. Progress counts bytes of
 * the tar.
 */
export interface CommitJob extends LayerSinks {
  readonly kind: 'commit'
  readonly source: DiffSource
  readonly target?: ApplyTarget | undefined
}

/** A {@link CommitJob} whose trees may be filesystems of this thread. */
export interface Committing extends LayerSinks {
  readonly source: Parameters<typeof prepareDiff>[0]
  /** Of another thread that makes the record meanwhile. */
  readonly recorder?: RecordEnd | undefined
}

export async function commitLayer(job: Committing, pace: Pace): Promise<LayerResult> {
  try {
    const { splitFile, recorder } = job
    const record =
      recorder === undefined
        ? await OwnRecord.open(splitFile)
        : new GatheredRecord(new RemoteRecord(recorder, splitFile, () => pace.check()))
    using intake = new LayerIntake(job, record)
    const prepared = await inPace(prepareDiff(job.source), pace)
    const contentBuffer = record instanceof GatheredRecord ? () => record.space() : undefined
    for (const part of diffParts(prepared, { contentBuffer })) {
      intake.bytes(part.bytes)
      intake.part(part)
      pace.progress(intake.tarSize)
      const turn = pace.breathe()
      if (turn !== undefined) await turn
    }
    return intake.finish()
  } catch (error) {
    throw storeError(error, 'SYSTEM', 'could not read the changes of the layer')
  }
}
