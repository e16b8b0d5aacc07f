import { driverFixture, overlayfsFixture, type Fixture, type Layers } from '../fixture.js'
import { bytes } from '../format.js'
import { content, GIB } from '../inputs.js'
import { task, type Workload } from '../workload.js'

const PATH = '/dir/huge'
const LAYERS: Layers = [[{ path: PATH.slice(1), size: GIB }], [{ path: 'other', size: 1 }]]

/** Writes part of a large file, to show which blocks the driver copies and which it shares. */
export function writtenInside(size: number): Workload {
  const data = content(size)
  const writing = async (making: Promise<Fixture>) => {
    const fixture = await making
    return task(
      async (clock) => {
        const writable = await clock.growth(fixture.directory, async () => {
          // A driver that copies whole layers does so in this call.
          const opened = await fixture.writable()
          await clock.phase('write', async () => {
            const file = await opened.files.open(PATH, 'r+')
            await file.write(data, 0, size, GIB / 2)
            await file.close()
          })
          await clock.phase('put', () => opened.close())
          return opened
        })
        await writable[Symbol.asyncDispose]()
      },
      async () => fixture[Symbol.asyncDispose](),
    )
  }
  return {
    name: `cow/${bytes(size)} inside of 1 GiB`,
    about: `write ${bytes(size)} in the middle of a 1 GiB file of a lower layer, then put the writable layer; on disk includes the creation of the layer`,
    heavy: true,
    growth: true,
    space: 2 * GIB,
    driver: (workspace) => writing(driverFixture(workspace, LAYERS)),
    floors: { overlayfs: (workspace) => writing(overlayfsFixture(workspace, LAYERS)) },
  }
}
