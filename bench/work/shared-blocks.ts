import { driverGround, overlayfsGround, type Ground, type Layers } from '../ground.js'
import { bytes } from '../format.js'
import { content, GIB } from '../inputs.js'
import { task, type Workload } from '../workload.js'

const PATH = '/dir/huge'
const LAYERS: Layers = [[{ path: PATH.slice(1), size: GIB }], [{ path: 'other', size: 1 }]]

/** Part of a large file is written: what is copied, and what is shared below the file? */
export function writtenInside(size: number): Workload {
  const data = content(size)
  const writing = async (ground: Promise<Ground>) => {
    const made = await ground
    return task(
      async (clock) => {
        const writable = await clock.growth(made.directory, async () => {
          // A driver that copies whole layers has done so by then.
          const opened = await made.writable()
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
      async () => made[Symbol.asyncDispose](),
    )
  }
  return {
    name: `cow/${bytes(size)} inside of 1 GiB`,
    about: `a writable layer is made, ${bytes(size)} is written in the middle of a file of 1 GiB of a lower layer, and the layer is put; what the disk holds more by then, with the making of the layer`,
    heavy: true,
    growth: true,
    space: 2 * GIB,
    driver: (side) => writing(driverGround(side, LAYERS)),
    floors: { overlayfs: (place) => writing(overlayfsGround(place, LAYERS)) },
  }
}
