import { attempt, operation, readText, withFile, type Operation } from './operation.js'
import { shown } from './calls.js'

const LARGE = 'large '.repeat(40_000)

/** Calls on an open file, also while its path is changed, moved or removed. */
export const HANDLES: readonly Operation[] = [
  operation('reads go on where the last one stopped', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => [
      await readText(file, 3),
      await readText(file, 3),
      await readText(file, 2, 1),
      await readText(file, 0),
      await readText(file),
      await readText(file),
      await readText(file, 5, 1000),
    ]),
  ),
  operation('writes go on where the last one stopped', (fs, at) =>
    withFile(fs, at('x'), 'r+', async (file) => {
      await file.write('AB')
      await file.write('C', 5)
      await file.write(Buffer.from('-DE-'), 1, 2, null)
      await file.write(Buffer.from('F'), 0, 1, 30)
      await file.write('')
      return [await readText(file, 3), await readText(file, 100, 0), (await file.stat()).size]
    }),
  ),
  operation('reads and writes share one position', (fs, at) =>
    withFile(fs, at('x'), 'r+', async (file) => [
      await readText(file, 3),
      (await file.write('X')).bytesWritten,
      await readText(file, 3),
    ]),
  ),
  operation('appends to the end, wherever the write says', (fs, at) =>
    withFile(fs, at('x'), 'a', async (file) => {
      await file.write('one')
      await file.write('two', 0)
      return [(await file.stat()).size, await attempt(() => readText(file))]
    }),
  ),
  operation('appends and reads', (fs, at) =>
    withFile(fs, at('x'), 'a+', async (file) => [
      await readText(file, 3),
      (await file.write('one')).bytesWritten,
      await readText(file),
      await readText(file, 100, 0),
    ]),
  ),
  operation('appends what others wrote meanwhile', (fs, at) =>
    withFile(fs, at('x'), 'a', async (file) => {
      await file.write('one')
      await fs.appendFile(at('x'), 'two')
      await file.write('three')
      await fs.truncate(at('x'), 2)
      await file.write('four')
      return fs.readFile(at('x'), 'latin1')
    }),
  ),
  operation('readFile and writeFile go on from the position', (fs, at) =>
    withFile(fs, at('x'), 'r+', async (file) => {
      await readText(file, 4)
      await file.writeFile('four')
      return [
        String(await file.readFile('latin1')),
        String(await file.readFile('latin1')),
        (await file.stat()).size,
      ]
    }),
  ),
  operation('open to read: no writing', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => [
      await attempt(() => file.write('no')),
      await attempt(() => file.writeFile('no')),
      await attempt(() => file.truncate(1)),
    ]),
  ),
  operation('open to write: no reading', (fs, at) =>
    withFile(fs, at('x'), 1, async (file) => [
      await attempt(() => readText(file)),
      await attempt(() => file.readFile()),
      await attempt(() => file.truncate(4)),
    ]),
  ),
  operation('is closed', async (fs, at) => {
    const file = await fs.open(at('x'), 'r+')
    await file.close()
    return [
      await attempt(() => readText(file)),
      await attempt(() => file.write('no')),
      await attempt(() => file.stat()),
      await attempt(() => file.truncate()),
      await attempt(() => file.close()),
    ]
  }),
  operation('truncates', (fs, at) =>
    withFile(fs, at('x'), 'r+', async (file) => {
      await file.truncate(20)
      const longer = await readText(file)
      await file.truncate(4)
      return [longer, (await file.stat()).size, await readText(file), await readText(file, 9, 0)]
    }),
  ),
  operation('writes beyond the end', (fs, at) =>
    withFile(fs, at('x'), 'r+', async (file) => {
      await file.truncate()
      await file.write('end', 6)
      return readText(file, 100, 0)
    }),
  ),
  operation('reads and writes much', (fs, at) =>
    withFile(fs, at('x'), 'r+', async (file) => {
      await file.writeFile(LARGE)
      await file.write(Buffer.from(LARGE), 0, null, 3)
      const buffer = Buffer.alloc(LARGE.length)
      const { bytesRead } = await file.read(buffer, 0, buffer.length, 7)
      return [bytesRead, buffer.subarray(0, 9).toString(), (await file.stat()).size]
    }),
  ),
  operation('is synced', (fs, at) =>
    withFile(fs, at('x'), 'r+', async (file) => {
      await file.write('synced')
      await file.sync()
      await file.datasync()
    }),
  ),
  operation('is synced, open to read', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await file.sync()
      await file.datasync()
    }),
  ),

  operation('open to read, changed by path', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      const before = await readText(file, 3)
      await withFile(fs, at('x'), 'r+', (writer) => writer.write('NEWCONTENT'))
      return [before, await readText(file, 3), await readText(file, 100, 0)]
    }),
  ),
  operation('open to read, written anew by path', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await fs.writeFile(at('x'), 'anew')
      return [(await file.stat()).size, await readText(file)]
    }),
  ),
  operation('open to read, truncated by path', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await fs.truncate(at('x'), 5)
      return [(await file.stat()).size, await readText(file)]
    }),
  ),
  operation('open to read twice, changed by a third', (fs, at) =>
    withFile(fs, at('x'), 'r', (one) =>
      withFile(fs, at('x'), 'r', (two) =>
        withFile(fs, at('x'), 'r+', async (three) => {
          await three.write('three')
          return [
            await readText(one, 7),
            await readText(two, 7),
            (await one.stat()).ino === (await two.stat()).ino,
          ]
        }),
      ),
    ),
  ),
  operation('shows the attributes that its path is given', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await fs.chmod(at('x'), 0o604)
      await fs.chown(at('x'), 7, 8)
      await fs.utimes(at('x'), 1, 2)
      const stat = await file.stat()
      return [shown(stat), stat.mtimeMs]
    }),
  ),
  operation('is one file with its path after a write', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await fs.appendFile(at('x'), 'more')
      const [opened, found] = [await file.stat(), await fs.stat(at('x'))]
      return [opened.ino === found.ino, opened.dev === found.dev, opened.nlink, found.nlink]
    }),
  ),
  operation('keeps its identity while others write', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      const before = await file.stat()
      await fs.appendFile(at('x'), 'more')
      const after = await file.stat()
      return [before.ino === after.ino, before.dev === after.dev]
    }),
  ),
  ...(['r', 'r+', 'a'] as const).flatMap((flags) => [
    operation(`open ${flags}: chmod, chown, utimes`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await file.chmod(0o604)
        await file.chown(7, 8)
        await file.utimes(1, 2)
        const stat = await fs.stat(at('x'))
        return [shown(stat), stat.mtimeMs, shown(await file.stat())]
      }),
    ),
    operation(`open ${flags}, unlinked: chmod, chown, utimes`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await fs.unlink(at('x'))
        return [
          await attempt(() => file.chmod(0o604)),
          await attempt(() => file.chown(7, 8)),
          await attempt(() => file.utimes(1, 2)),
          shown(await file.stat()),
        ]
      }),
    ),
    operation(`open ${flags}, unlinked: read and write`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await fs.unlink(at('x'))
        return [
          (await file.stat()).nlink,
          await attempt(() => readText(file, 100, 0)),
          await attempt(async () => (await file.write('gone')).bytesWritten),
          await attempt(() => readText(file, 100, 0)),
          (await file.stat()).size,
        ]
      }),
    ),
    operation(`open ${flags}, unlinked, made again`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await fs.unlink(at('x'))
        await fs.writeFile(at('x'), 'another')
        return [
          await attempt(async () => (await file.write('gone')).bytesWritten),
          await attempt(() => readText(file, 100, 0)),
          (await file.stat()).ino === (await fs.stat(at('x'))).ino,
        ]
      }),
    ),
    operation(`open ${flags}, renamed`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await fs.rename(at('x'), at('y'))
        await fs.appendFile(at('y'), 'more')
        return [
          await attempt(async () => (await file.write('W')).bytesWritten),
          await attempt(() => readText(file, 100, 0)),
          (await file.stat()).ino === (await fs.stat(at('y'))).ino,
        ]
      }),
    ),
    operation(`open ${flags}, renamed, another in its place`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await fs.rename(at('x'), at('y'))
        await fs.rename(at('other'), at('x'))
        await attempt(() => file.write('W'))
        await file.chmod(0o600)
        return [await attempt(() => readText(file, 100, 0))]
      }),
    ),
    operation(`open ${flags}, another renamed over it`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await fs.rename(at('other'), at('x'))
        return [
          (await file.stat()).nlink,
          await attempt(async () => (await file.write('W')).bytesWritten),
          await attempt(() => readText(file, 100, 0)),
        ]
      }),
    ),
    operation(`open ${flags}, linked, changed by the link`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await fs.link(at('x'), at('y'))
        await withFile(fs, at('y'), 'r+', (writer) => writer.write('BYLINK'))
        return [(await file.stat()).nlink, await attempt(() => readText(file, 100, 0))]
      }),
    ),
    operation(`open ${flags}, unlinked while it has a link`, (fs, at) =>
      withFile(fs, at('x'), flags, async (file) => {
        await fs.link(at('x'), at('y'))
        await fs.unlink(at('x'))
        await withFile(fs, at('y'), 'r+', (writer) => writer.write('BYLINK'))
        await file.chmod(0o640)
        return [(await file.stat()).nlink, await attempt(() => readText(file, 100, 0))]
      }),
    ),
  ]),
  operation('made, unlinked, written, read', (fs, at) =>
    withFile(fs, at('new'), 'wx+', async (file) => {
      await fs.unlink(at('new'))
      await file.write('no name')
      return [await readText(file, 100, 0), (await file.stat()).nlink]
    }),
  ),
  operation('made without permission for anybody, written', (fs, at) =>
    withFile(fs, at('new'), 'wx', async (file) => (await file.write('mine')).bytesWritten, 0),
  ),
]

/** Calls on an open directory. */
export const DIRECTORY_HANDLES: readonly Operation[] = [
  operation('open directory: read and write', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => [
      await attempt(() => readText(file)),
      await attempt(() => file.readFile()),
      await attempt(() => file.write('no')),
      await attempt(() => file.truncate()),
      await attempt(() => file.sync()),
    ]),
  ),
  operation('open directory: chmod, chown, utimes', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await file.chmod(0o3705)
      await file.chown(7, 8)
      await file.utimes(1, 2)
      return [shown(await file.stat()), shown(await fs.stat(at('x')))]
    }),
  ),
  operation('open directory, filled', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await fs.writeFile(at('x/new'), 'new')
      const [opened, found] = [await file.stat(), await fs.stat(at('x'))]
      return [opened.ino === found.ino, opened.dev === found.dev]
    }),
  ),
  operation('open directory, removed', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await fs.rm(at('x'), { recursive: true })
      return shown(await file.stat())
    }),
  ),
  operation('open directory, removed: chmod', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await fs.rm(at('x'), { recursive: true })
      return attempt(() => file.chmod(0o700))
    }),
  ),
  operation('open directory, made again', (fs, at) =>
    withFile(fs, at('x'), 'r', async (file) => {
      await fs.rm(at('x'), { recursive: true })
      await fs.mkdir(at('x'))
      return (await file.stat()).ino === (await fs.stat(at('x'))).ino
    }),
  ),
]
