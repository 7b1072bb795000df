"""Checks certificates of small networks in exact fractions: nothing rounds but slopes, which may be any, and ends, which go outwards.

Run by hand, with Python alone:

    python3 golden/check_exact.py CERTIFICATE NETWORK.onnx PROPERTY.vnnlib      one proof
    python3 golden/check_exact.py                                               those in golden/certificates, into exact.json there

It reads ONNX (Gemm, MatMul, Conv, Add, Sub, Mul, Div, Relu, Flatten, Reshape, Identity, Dropout, Constant) and VNN-LIB 1.0 itself, merges
affine nodes exactly, and follows crates/verify/src/proof.rs. A claim of float32 is checked as far as it is one about real numbers.
"""

import hashlib
import json
import math
import struct
import sys
from fractions import Fraction
from pathlib import Path


def need(condition, why):
    if not condition:
        raise ValueError(why)


# ONNX ----------------------------------------------------------------------------------------------------------------------------------


def fields(data):
    found, at = {}, 0

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        key = varint()
        if key & 7 == 0:
            value = varint()
        else:
            size = {1: 8, 5: 4}.get(key & 7) or varint()
            value = data[at : at + size]
            at += size
        found.setdefault(key >> 3, []).append(value)
    return found


def ints(values):
    out = []
    for value in values:
        if isinstance(value, int):
            out.append(value)
            continue
        while value:
            end = next(i for i, byte in enumerate(value) if byte < 128) + 1
            out.append(sum((byte & 127) << 7 * i for i, byte in enumerate(value[:end])))
            value = value[end:]
    return [n - (1 << 64) if n >> 63 else n for n in out]


def tensor(data):
    found = fields(data)
    kind, shape = found[2][0], ints(found.get(1, []))
    letter, size = {1: ("f", 4), 11: ("d", 8), 7: ("q", 8), 6: ("i", 4)}[kind]
    raw = b"".join(found.get(9, []))
    if raw:
        numbers = struct.unpack(f"<{len(raw) // size}{letter}", raw)
    elif letter in "fd":
        raw = b"".join(found.get(4 if letter == "f" else 10, []))
        numbers = struct.unpack(f"<{len(raw) // size}{letter}", raw)
    else:
        numbers = ints(found.get(7 if letter == "q" else 5, []))
    need(len(numbers) == math.prod(shape), "a tensor of another size than its shape")
    return found.get(8, [b""])[0].decode(), (shape, [form(Fraction(n)) for n in numbers])


def form(constant, terms=None):
    """A linear form over atoms: inputs ("x", i) and outputs of ReLUs (k, i)."""
    return constant, terms or {}


def plus(a, b, scale=1):
    terms = dict(a[1])
    for atom, w in b[1].items():
        terms[atom] = terms.get(atom, 0) + scale * w
    return a[0] + scale * b[0], {atom: w for atom, w in terms.items() if w}


def times(a, k):
    return a[0] * k, {atom: w * k for atom, w in a[1].items() if w * k}


def product(a, b):
    need(not a[1] or not b[1], "a product of two values that are computed")
    return times(a, b[0]) if not b[1] else times(b, a[0])


def broadcast(a, b, operation):
    rank = max(len(a[0]), len(b[0]))
    shapes = [[1] * (rank - len(s)) + list(s) for s, _ in (a, b)]
    shape = [max(p, q) for p, q in zip(*shapes)]
    need(all(n in (1, m) for s in shapes for n, m in zip(s, shape)), "shapes that do not fit")

    def at(place, own):
        return sum((0 if n == 1 else p) * math.prod(own[d + 1 :]) for d, (p, n) in enumerate(zip(place, own)))

    places = [[i // math.prod(shape[d + 1 :]) % n for d, n in enumerate(shape)] for i in range(math.prod(shape))]
    return shape, [operation(a[1][at(p, shapes[0])], b[1][at(p, shapes[1])]) for p in places]


def dense(x, weight, inputs, outputs, at, bias):
    need(math.prod(x[0]) == inputs, "a product of other sizes")
    out = []
    for o in range(outputs):
        y = form(bias[o])
        for i in range(inputs):
            y = plus(y, x[1][i], weight[at(i, o)])
        out.append(y)
    return list(x[0][:-1]) + [outputs], out


def conv(x, weight, bias, stride, pads, dilation, group):
    _, channels, height, width = x[0]
    outputs, inside, kh, kw = weight[0]
    need(inside * group == channels, "groups that do not fit")
    rows = (height + pads[0] + pads[2] - dilation[0] * (kh - 1) - 1) // stride[0] + 1
    columns = (width + pads[1] + pads[3] - dilation[1] * (kw - 1) - 1) // stride[1] + 1
    out = []
    for o in range(outputs):
        for row in range(rows):
            for column in range(columns):
                y = form(bias[o])
                for c in range(inside):
                    for v in range(kh):
                        for w in range(kw):
                            r = row * stride[0] + v * dilation[0] - pads[0]
                            s = column * stride[1] + w * dilation[1] - pads[1]
                            if 0 <= r < height and 0 <= s < width:
                                channel = o // (outputs // group) * inside + c
                                pixel = x[1][(channel * height + r) * width + s]
                                y = plus(y, pixel, weight[1][((o * inside + c) * kh + v) * kw + w][0])
                out.append(y)
    return [1, outputs, rows, columns], out


def network(data):
    """How many inputs there are, the forms before every ReLU, and those of the output."""
    graph = fields(fields(data)[7][0])
    known = dict(tensor(t) for t in graph.get(5, []))
    name = lambda value: fields(value)[1][0].decode()
    free = [value for value in graph[11] if name(value) not in known]
    need(len(free) == 1 and len(graph[12]) == 1, "other than one input and one output")
    kind = fields(fields(fields(free[0])[2][0])[1][0])
    shape = [max(1, (ints(fields(d).get(1, [])) or [1])[0]) for d in fields(kind[2][0]).get(1, [])]
    inputs = math.prod(shape)
    known[name(free[0])] = shape, [form(Fraction(0), {("x", i): Fraction(1)}) for i in range(inputs)]
    relus = []
    for node in graph[1]:
        found = fields(node)
        op = found[4][0].decode()
        args = [known[n.decode()] if n else None for n in found.get(1, [])]
        attributes = {(f := fields(a))[1][0].decode(): f for a in found.get(5, [])}
        number = lambda key, default: (ints(attributes[key].get(3, [])) or [0])[0] if key in attributes else default
        numbers = lambda key, default: ints(attributes[key].get(8, [])) if key in attributes else default
        x = args[0] if args else None
        if op == "Constant":
            out = tensor(attributes["value"][5][0])[1]
        elif op in ("Identity", "Dropout"):
            out = x
        elif op == "Flatten":
            axis = number("axis", 1)
            out = [math.prod(x[0][:axis]), math.prod(x[0][axis:])], x[1]
        elif op == "Reshape":
            wanted = [int(n[0]) for n in args[1][1]]
            wanted = [x[0][i] if n == 0 else n for i, n in enumerate(wanted)]
            known_size = math.prod(n for n in wanted if n != -1)
            out = [len(x[1]) // known_size if n == -1 else n for n in wanted], x[1]
            need(math.prod(out[0]) == len(x[1]), "a reshape of other sizes")
        elif op == "Relu":
            k = len(relus)
            relus.append(x[1])
            out = x[0], [form(Fraction(0), {(k, i): Fraction(1)}) for i in range(len(x[1]))]
        elif op in ("Add", "Sub"):
            out = broadcast(*args, lambda a, b: plus(a, b, 1 if op == "Add" else -1))
        elif op == "Mul":
            out = broadcast(*args, product)
        elif op == "Div":
            need(not any(b[1] for b in args[1][1]), "a division by what is computed")
            out = broadcast(*args, lambda a, b: times(a, 1 / b[0]))
        elif op == "MatMul":
            rows, columns = args[1][0]
            weight = [w[0] for w in args[1][1]]
            out = dense(x, weight, rows, columns, lambda i, o: i * columns + o, [Fraction(0)] * columns)
        elif op == "Gemm":
            a, b = args[1][0]
            scale = [struct.unpack("<f", attributes[s][2][0])[0] if s in attributes else 1 for s in ("alpha", "beta")]
            need(scale == [1, 1] and not number("transA", 0), "a Gemm with factors")
            weight, turned = [w[0] for w in args[1][1]], number("transB", 0)
            rows, columns = (b, a) if turned else (a, b)
            at = (lambda i, o: o * b + i) if turned else (lambda i, o: i * b + o)
            bias = [Fraction(0)] * columns
            if len(args) > 2 and args[2]:
                bias = [c[0] for c in broadcast(args[2], ([1, columns], [form(Fraction(0))] * columns), plus)[1]]
            out = dense(x, weight, rows, columns, at, bias)
        elif op == "Conv":
            bias = [b[0] for b in args[2][1]] if len(args) > 2 and args[2] else [Fraction(0)] * args[1][0][0]
            need("auto_pad" not in attributes, "auto_pad")
            settings = numbers("strides", [1, 1]), numbers("pads", [0] * 4), numbers("dilations", [1, 1])
            out = conv(x, args[1], bias, *settings, number("group", 1))
        else:
            raise ValueError(f"{op} is not among the operations that are checked")
        known[found[2][0].decode()] = out
    return inputs, relus, known[name(graph[12][0])][1]


# VNN-LIB -------------------------------------------------------------------------------------------------------------------------------


def property_cases(text, inputs, outputs):
    text = "\n".join(line.split(";")[0] for line in text.splitlines())
    stack = [[]]
    for word in text.replace("(", " ( ").replace(")", " ) ").split():
        if word == "(":
            stack.append([])
        elif word == ")":
            done = stack.pop()
            stack[-1].append(done)
        else:
            stack[-1].append(word)

    def disjunction(formula):
        operator, *args = formula
        if operator == "or":
            return [c for arg in args for c in disjunction(arg)]
        if operator == "and":
            all_ = [[]]
            for arg in args:
                all_ = [a + b for a in all_ for b in disjunction(arg)]
            return all_
        a, b = args if operator == "<=" else reversed(args)
        need(operator in ("<=", ">="), operator)
        return [[(a, b)]]

    conjunctions = [[]]
    for statement in stack[0]:
        if statement[0] == "assert":
            found = disjunction(statement[1])
            conjunctions = [a + b for a in conjunctions for b in found]
    cases = []
    for conjunction in conjunctions:
        box, rows = [[None] * inputs, [None] * inputs], []
        for a, b in conjunction:
            index = lambda word: int(word[2:])
            if "X" in (a[0], b[0]):
                side, i, end = (1, index(a), Fraction(b)) if a[0] == "X" else (0, index(b), Fraction(a))
                old = box[side][i]
                box[side][i] = end if old is None else (min if side else max)(old, end)
            else:
                terms, bound = {}, Fraction(0)
                for word, sign in ((a, 1), (b, -1)):
                    if word[0] == "Y":
                        need(index(word) < outputs, word)
                        terms[index(word)] = sign
                    else:
                        bound -= sign * Fraction(word)
                rows.append((terms, bound))
        need(None not in box[0] + box[1], "an input without an end")
        if all(l <= u for l, u in zip(*box)):
            case = next((case for case in cases if case[0] == box), None)
            if case is None:
                case = (box, [])
                cases.append(case)
            case[1].append(rows)
    return cases


# The proof -----------------------------------------------------------------------------------------------------------------------------

GRID = 1 << 96


class Node:
    def __init__(self, box, ends, slopes, splits, rows, left):
        self.box, self.ends, self.slopes, self.splits, self.rows = box, ends, slopes, splits, rows
        self.left = left  # groups that are still to be shown; one number in the tree of a group

    def copy(self):
        ends = [[list(l), list(u)] for l, u in self.ends]
        left = self.left if isinstance(self.left, int) else set(self.left)
        return Node([list(e) for e in self.box], ends, dict(self.slopes), dict(self.splits), dict(self.rows), left)

    def empty(self):
        return any(l > u for ends in [self.box, *self.ends] for l, u in zip(*ends))


def least(node, f):
    """The least value of a form by the ends of its atoms."""
    total = f[0]
    for atom, w in f[1].items():
        if atom[0] == "x":
            end = node.box[0 if w > 0 else 1][atom[1]]
        else:
            end = max(node.ends[atom[0]][0 if w > 0 else 1][atom[1]], 0)
        total += w * end
    return total


def push(node, relus, f, slopes, beta):
    """The form over inputs below this one."""
    for k in reversed(range(len(relus))):
        constant, terms = f
        out = form(constant, {atom: w for atom, w in terms.items() if atom[0] != k})
        before = {atom[1]: w for atom, w in terms.items() if atom[0] == k}
        for i in sorted(set(before) | {i for kk, i in beta if kk == k}):
            w, (l, u) = before.get(i, 0), (node.ends[k][0][i], node.ends[k][1][i])
            if l >= 0:
                slope, height = 1, 0
            elif u <= 0:
                slope, height = 0, 0
            elif w < 0:
                slope = min(max(Fraction(float(u / (u - l))), 0), 1)
                height = max(-slope * l, (1 - slope) * u)
            else:
                slope, height = slopes.get((k, i), 1 if float(u / (u - l)) > 0.500001 else 0), 0
            out = plus((out[0] + w * height, out[1]), relus[k][i], w * slope - beta.get((k, i), 0))
        f = out
    return f


def tighten(node, relus, how):
    def put(k, i, low=None, high=None):
        ends = node.ends[k]
        if low is not None:
            low = Fraction(math.floor(low * GRID), GRID)
            ends[0][i] = low if ends[0][i] is None else max(ends[0][i], low)
        if high is not None:
            high = Fraction(math.ceil(high * GRID), GRID)
            ends[1][i] = high if ends[1][i] is None else min(ends[1][i], high)

    if how == "fresh":
        node.ends = [[[None] * len(layer), [None] * len(layer)] for layer in relus]
    for k, layer in enumerate(relus):
        for i, f in enumerate(layer):
            put(k, i, least(node, f), -least(node, times(f, -1)))
        for (kk, i), side in node.splits.items():
            if kk == k:
                put(k, i, **{"low" if side > 0 else "high": Fraction(0)})
        if how == "interval":
            continue
        bounds = node.rows.get(k, {end: {} for end in range(2 * len(layer))})
        found = {}
        for end, slopes in bounds.items():
            i, upper = divmod(end, 2)
            if node.ends[k][0][i] < 0 < node.ends[k][1][i]:
                f = times(layer[i], -1) if upper else layer[i]
                found[end] = least(node, push(node, relus[:k], f, slopes, {}))
        for end, low in found.items():
            put(k, end // 2, **({"high": -low} if end % 2 else {"low": low}))


def read_slopes(node, given):
    slopes = {}
    for k, neurons, values in given:
        if not neurons and len(values) == 1:
            neurons, values = range(len(node.ends[k][0])), values * len(node.ends[k][0])
        need(len(neurons) == len(values), "slopes and neurons are not as many")
        for i, value in zip(neurons, values):
            need(0 <= i < len(node.ends[k][0]) and 0 <= value <= 1, "a slope")
            slopes[k, i] = Fraction(value)
    return slopes


def check(certificate, onnx, vnnlib):
    lines = [json.loads(line) for line in certificate.read_text().splitlines()]
    header, steps, end = lines[0], lines[1:-1], lines[-1]
    digest = lambda path: hashlib.sha256(path.read_bytes()).hexdigest()
    need(header["format"] == "temper-certificate-2" and end == {"end": len(lines) - 1}, "header or end")
    need(header["network"] == digest(onnx) and header["property"] == digest(vnnlib), "other files")
    inputs, relus, outputs = network(onnx.read_bytes())
    need(sum(map(len, relus)) < 200, "200 neurons or more")
    cases = property_cases(vnnlib.read_text(), inputs, len(outputs))
    boxes = leaves = 0
    stack, bound = [], None

    def in_tree(node):
        return isinstance(node.left, int)

    def line(node, combination, beta):
        need(combination, "no rows")
        total = form(Fraction(0))
        for row, weight in combination:
            need(weight > 0 and row >= 0, "a weight")
            need(in_tree(node), "rows outside of a group")
            terms, limit = cases[boxes - 1][1][node.left][row]
            total = plus(total, form(-limit), Fraction(weight))
            for i, w in terms.items():
                total = plus(total, outputs[i], w * Fraction(weight))
        return push(node, relus, total, node.slopes, beta)

    for step in steps:
        ((kind, value),) = step.items()
        if kind == "box":
            need(not stack and value == boxes, "not the next box")
            ends = [[[None] * len(r), [None] * len(r)] for r in relus]
            groups = set(range(len(cases[value][1])))
            root = Node([list(e) for e in cases[value][0]], ends, {}, {}, {}, groups)
            tighten(root, relus, "interval")
            stack, boxes = [root] if groups else [], boxes + 1
        elif kind == "group":
            node = stack[-1]
            need(not in_tree(node), "a group within another")
            tree = node.copy()
            node.left.remove(value)
            tree.left = value
            if not node.left:
                stack.pop()
            stack.append(tree)
        elif kind == "bounds":
            tighten(stack[-1], relus, value)
        elif kind == "rows":
            k, ends, layers, slopes = value
            names = [(kk, i) for kk, neurons in layers for i in neurons]
            need(len(ends) == len(slopes) and all(len(row) == len(names) for row in slopes), "rows")
            need(all(0 <= slope <= 1 for row in slopes for slope in row), "a slope")
            stack[-1].rows[k] = {end: dict(zip(names, map(Fraction, row))) for end, row in zip(ends, slopes)}
        elif kind == "alpha":
            stack[-1].slopes.update(read_slopes(stack[-1], value))
        elif kind == "split":
            k, i = value
            off, on = stack.pop(), None
            need(0 <= k and 0 <= i, "a neuron")
            on = off.copy()
            off.ends[k][1][i], on.ends[k][0][i] = min(off.ends[k][1][i], Fraction(0)), max(on.ends[k][0][i], Fraction(0))
            off.splits.setdefault((k, i), -1)
            on.splits.setdefault((k, i), 1)
            stack += [on, off]
        elif kind == "halve":
            i, at = value[0], Fraction(value[1])
            below = stack.pop()
            above = below.copy()
            need(0 <= i, "an input")
            below.box[1][i], above.box[0][i] = min(below.box[1][i], at), max(above.box[0][i], at)
            stack += [above, below]
        elif kind == "clip":
            node = stack[-1]
            f = line(node, value, {})
            low, old = least(node, f), [list(e) for e in node.box]
            for (_, i), w in f[1].items():
                rest = low - w * old[0 if w > 0 else 1][i]
                if w > 0:
                    node.box[1][i] = min(node.box[1][i], -rest / w)
                else:
                    node.box[0][i] = max(node.box[0][i], -rest / w)
        elif kind == "leaf":
            node = stack.pop()
            need(in_tree(node), "a leaf outside of a group")
            beta = {}
            for k, i, multiplier in value[1]:
                need(multiplier >= 0 and (k, i) in node.splits, "a multiplier")
                beta[k, i] = beta.get((k, i), 0) + node.splits[k, i] * Fraction(multiplier)
            f = line(node, value[0], beta)
            leaves += 1
            if not node.empty():
                found = least(node, f)
                need(found > 0, f"a leaf has the bound {float(found)}")
                bound = found if bound is None else min(bound, found)
        else:
            raise ValueError(kind)
    need(not stack and boxes == len(cases), "something is not shown")
    return {"leaves": leaves, "bound": None if bound is None else float(bound)}


if __name__ == "__main__":
    if len(sys.argv) == 4:
        print(check(*map(Path, sys.argv[1:])))
    else:
        folder = Path(__file__).parent / "certificates"
        names = sorted(path.stem for path in folder.glob("*.onnx"))
        found = {name: check(*(folder / f"{name}{end}" for end in (".jsonl", ".onnx", ".vnnlib"))) for name in names}
        (folder / "exact.json").write_text(json.dumps(found, indent=1) + "\n")
        print(json.dumps(found, indent=1))
