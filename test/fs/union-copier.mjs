// Copies up files, one after the other, until it is killed. Prints a line after the first four.
import { constants } from 'node:fs'
import { UnionFs } from '#layerstack/fs/union/union-fs.js'

const union = new UnionFs(JSON.parse(process.env.UNION_SPEC))
for (const [number, name] of process.env.UNION_NAMES.split(',').entries()) {
  union.open(name, constants.O_WRONLY).close()
  if (number === 3) console.log('under way')
}
