"""Every row computes the equations of its paper, written here token by token and head by head, from its own weights.

The other tests compare our forms with one another; a formula that all of them share is checked only here. A definition
reads the weights ``w`` of a layer by name and tokens ``x``, ``(T, D)``, and yields what the layer says of each token.
States are the transpose of the papers' where those write ``v k^T``.
"""

import functools
import math

import pytest
import torch
from torch import cat, exp, log, outer, tanh

from scannable.affine import ROWS

WIDTH, HEADS, LENGTH = 12, 3, 7
zeros, eye = (functools.partial(make, dtype=torch.float64) for make in (torch.zeros, torch.eye))


def sigmoid(x):
    return 1 / (1 + exp(-x))


def silu(x):
    return x * sigmoid(x)


def softplus(x):
    return log(1 + exp(x))


def unit(x):
    return x / (x @ x + 1e-6).sqrt()


def rms_norm(x, weight):
    return weight * x / ((x * x).mean() + 1e-5).sqrt()


def per_head(x, heads=HEADS):
    return x.view(heads, -1)


def short_convolution(w, name, x):
    """Weigh each channel of a token and of the ones before it, the token itself with the last tap."""
    taps = w[f"{name}.weight"][:, 0]
    for t in range(len(x)):
        mixed = sum(taps[:, -1 - lag] * x[t - lag] for lag in range(min(t + 1, taps.shape[1])))
        yield silu(mixed + w.get(f"{name}.bias", 0))


def gated_output(w, x, reads, gate=silu):
    """Multiply the norm of each head with a gate of the token, and map all heads back."""
    normed = cat([rms_norm(read, w["out.norm.weight"]) for read in reads])
    return w["out.map.weight"] @ (gate(w["out.gate.weight"] @ x) * normed)


def linear_attention(w, x, feature_map="elu", normalised=True):
    # Katharopoulos et al., arXiv 2006.16236, Section 3.4: s_i = s_{i-1} + phi(k_i) v_i^T, z_i = z_{i-1} + phi(k_i),
    # y_i = phi(q_i)^T s_i / phi(q_i)^T z_i, and phi = elu + 1 in Section 3.2. Like the authors' code, add 1e-6 below.
    phi = {
        "elu": lambda x: torch.where(x > 0, x + 1, exp(x)),
        "relu": lambda x: torch.where(x > 0, x, 0),
        "identity": lambda x: x,
    }[feature_map]
    s, z = zeros(HEADS, 4, 4), zeros(HEADS, 4)
    for x_i in x:
        q, k, v = (w["qkv.weight"] @ x_i).view(3, HEADS, 4)
        y = []
        for h in range(HEADS):
            s[h] = s[h] + outer(phi(k[h]), v[h])
            z[h] = z[h] + phi(k[h])
            if normalised:
                y.append(phi(q[h]) @ s[h] / (phi(q[h]) @ z[h] + 1e-6))
            else:
                y.append(rms_norm(phi(q[h]) @ s[h], w["norm.weight"]))
        yield w["out.weight"] @ cat(y)


def delta_inputs(w, x, keys, values, strongest):
    """Yield q, k, v by head and beta of each token as DeltaNet makes them, arXiv 2406.06484."""
    qkv = short_convolution(w, "inputs.convolution", x @ w["inputs.qkv.weight"].T)
    for x_t, mixed in zip(x, qkv, strict=True):
        q, k, v = map(per_head, mixed.split([HEADS * keys, HEADS * keys, HEADS * values]))
        beta = strongest * sigmoid(w["inputs.erase.weight"] @ x_t)
        yield x_t, [unit(row) for row in q], [unit(row) for row in k], v, beta


def deltanet(w, x, negative_eigenvalues=False):
    # Yang et al., arXiv 2406.06484, Section 2.2: S_t = S_{t-1} (I - beta_t k_t k_t^T) + beta_t v_t k_t^T,
    # o_t = S_t q_t.
    S = zeros(HEADS, 4, 4)
    for _, q, k, v, beta in delta_inputs(w, x, 4, 4, 1 + negative_eigenvalues):
        o = []
        for h in range(HEADS):
            S[h] = (eye(4) - beta[h] * outer(k[h], k[h])) @ S[h] + beta[h] * outer(k[h], v[h])
            o.append(rms_norm(S[h].T @ q[h], w["norm.weight"]))
        yield w["out.weight"] @ cat(o)


def gated_deltanet(w, x, negative_eigenvalues=False):
    # Yang et al., arXiv 2412.06464, Section 3: S_t = S_{t-1} (alpha_t (I - beta_t k_t k_t^T)) + beta_t v_t k_t^T,
    # with Mamba-2's alpha_t = exp(-exp(A) softplus(W x_t + dt)). What is written is not decayed.
    S = zeros(HEADS, 3, 6)
    for x_t, q, k, v, beta in delta_inputs(w, x, 3, 6, 1 + negative_eigenvalues):
        alpha = exp(-exp(w["A_log"]) * softplus(w["decay.weight"] @ x_t + w["dt_bias"]))
        o = []
        for h in range(HEADS):
            S[h] = alpha[h] * (eye(3) - beta[h] * outer(k[h], k[h])) @ S[h] + beta[h] * outer(k[h], v[h])
            o.append(S[h].T @ q[h])
        yield gated_output(w, x_t, o)


def retnet(w, x):
    # Sun et al., arXiv 2307.08621, Sections 2.1 and 2.2: S_n = gamma S_{n-1} + K_n^T V_n, o_n = Q_n S_n,
    # gamma = 1 - 2^(-5 - h), and keys over the root of their width; without xPos.
    S = zeros(HEADS, 4, 8)
    for x_n in x:
        Q, K = (w["qk.weight"] @ x_n).view(2, HEADS, 4)
        V = per_head(w["v.weight"] @ x_n)
        o = []
        for h in range(HEADS):
            S[h] = (1 - 2 ** (-5 - h)) * S[h] + outer(K[h] / 4**0.5, V[h])
            o.append(Q[h] @ S[h])
        yield gated_output(w, x_n, o)


def mamba2(w, x, heads, groups, state, shortest=0.0, longest=math.inf, **_):
    # Dao and Gu, arXiv 2405.21060, Sections 2 and 7: h_t = exp(Delta_t A) h_{t-1} + Delta_t B_t x_t,
    # y_t = C_t^T h_t + D x_t, with a scalar A = -exp(A_log) in each head, and B and C that a group of heads shares.
    # Behind it, y silu(z) is normalised in each group.
    inner = heads * 6
    z, xBC, dt = (x @ w["in_proj.weight"].T + w.get("in_proj.bias", 0)).split(
        [inner, inner + 2 * groups * state, heads], 1
    )
    h = zeros(heads, state, 6)
    for t, mixed in enumerate(short_convolution(w, "conv1d", xBC)):
        X, B, C = mixed.split([inner, groups * state, groups * state])
        X, B, C = X.view(heads, 6), B.view(groups, state), C.view(groups, state)
        Delta = softplus(dt[t] + w["dt_bias"]).clamp(shortest, longest)
        y = []
        for i in range(heads):
            group = i * groups // heads
            decay = exp(-Delta[i] * exp(w["A_log"][i]))
            h[i] = decay * h[i] + Delta[i] * outer(B[group], X[i])
            y.append(C[group] @ h[i] + w["D"][i] * X[i])
        shares = (cat(y) * silu(z[t])).chunk(groups)
        normed = cat([rms_norm(*pair) for pair in zip(shares, w["norm.weight"].chunk(groups), strict=True)])
        yield w["out_proj.weight"] @ normed + w.get("out_proj.bias", 0)


def mlstm(w, x):
    # Beck et al., arXiv 2405.04517, Section 2.3, without the stabiliser: C_t = f_t C_{t-1} + i_t v_t k_t^T,
    # n_t = f_t n_{t-1} + i_t k_t, h_t = o_t * C_t q_t / max(|n_t^T q_t|, 1), i = exp, f = sigmoid, o = sigmoid, and
    # keys over the root of their width. The norm is that of the block around it.
    C, n, floored = zeros(HEADS, 4, 4), zeros(HEADS, 4), []
    for x_t in x:
        q, k, v = (w["qkv.weight"] @ x_t).view(3, HEADS, 4)
        i, f = (w["gates.weight"] @ x_t + w["bias"]).view(2, HEADS)
        i, f, k = exp(i), sigmoid(f), k / 4**0.5
        h = []
        for j in range(HEADS):
            C[j] = f[j] * C[j] + i[j] * outer(k[j], v[j])
            n[j] = f[j] * n[j] + i[j] * k[j]
            floored.append(bool((n[j] @ q[j]).abs() < 1))
            h.append(C[j].T @ q[j] / max((n[j] @ q[j]).abs(), 1))
        yield gated_output(w, x_t, h, gate=sigmoid)
    assert 3 <= sum(floored) <= len(floored) - 3


def gated_rfa(w, x, features="fourier", projections=64):
    # Peng et al., arXiv 2103.02143, Sections 2.2, 3.1 and 3.2: g_t = sigmoid(w_g x_t + b_g),
    # S_t = g_t S_{t-1} + (1 - g_t) phi(k_t) v_t^T, z_t = g_t z_{t-1} + (1 - g_t) phi(k_t),
    # h_t = phi(q_t)^T S_t / (phi(q_t) . z_t), q and k of unit length. Where z_t is not positive, our denominator is.
    def phi(x, head):
        Wx = unit(x) @ w["projections"][head]
        parts = [Wx.sin(), Wx.cos()] if features == "fourier" else [torch.where(Wx > 0, Wx, 0)]
        return cat(parts) / projections**0.5

    states, signs = [(0, 0)] * HEADS, []
    for x_t in x:
        q, k, v = (w["qkv.weight"] @ x_t).view(3, HEADS, 4)
        g = sigmoid(w["decay.weight"] @ x_t + w["bias"])
        out = []
        for h in range(HEADS):
            S, z = states[h]
            S = g[h] * S + (1 - g[h]) * outer(phi(k[h], h), v[h])
            z = g[h] * z + (1 - g[h]) * phi(k[h], h)
            states[h] = S, z
            total = phi(q[h], h) @ z
            signs.append(bool(total < 0))
            out.append(phi(q[h], h) @ S / max(total.abs(), 1e-4))
        yield w["out.weight"] @ cat(out)
    assert any(signs) == (projections == 1)


def s4(w, x, state=4):
    # Gu et al., arXiv 2206.11893, Section 3: x' = A x + B u, y = C x + D u, by zero-order hold
    # x_t = exp(Delta A) x_{t-1} + A^{-1} (exp(Delta A) - I) B u_t. Here A is a real diagonal and B = 1.
    states = zeros(WIDTH, state)
    for u in x:
        y = []
        for channel in range(WIDTH):
            A = -exp(w["A_log"][channel])
            step = exp(exp(w["log_step"][channel]) * A)
            states[channel] = step * states[channel] + (step - 1) / A * u[channel]
            y.append(w["C"][channel] @ states[channel] + w["D"][channel] * u[channel])
        yield torch.stack(y)


def s6(w, x, state=4, rank=1, prefix=""):
    # Gu and Dao, arXiv 2312.00752, Algorithm 2: Delta_t = softplus(s_Delta(x_t) + b), B_t = s_B(x_t), C_t = s_C(x_t),
    # h_t = exp(Delta_t A) h_{t-1} + Delta_t B_t x_t, y_t = C_t h_t + D x_t, for each channel.
    w = {name.removeprefix(prefix): weight for name, weight in w.items()}
    h = zeros(x.shape[1], state)
    for x_t in x:
        low, B, C = (w["x_proj.weight"] @ x_t).split([rank, state, state])
        Delta = softplus(w["dt_proj.weight"] @ low + w["dt_bias"])
        y = []
        for d in range(x.shape[1]):
            h[d] = exp(-Delta[d] * exp(w["A_log"][d])) * h[d] + Delta[d] * B * x_t[d]
            y.append(C @ h[d] + w["D"][d] * x_t[d])
        yield torch.stack(y)


def mamba(w, x, state=4, rank=1, **_):
    # Gu and Dao, arXiv 2312.00752, Section 3.4 and Figure 3: silu and S6 behind a convolution, times silu of a gate.
    u, z = (x @ w["in_proj.weight"].T + w.get("in_proj.bias", 0)).chunk(2, 1)
    u = torch.stack(list(short_convolution(w, "conv1d", u)))
    for y, z_t in zip(s6(w, u, state, rank, prefix="ssm."), z, strict=True):
        yield w["out_proj.weight"] @ (y * silu(z_t)) + w.get("out_proj.bias", 0)


def gla(w, x, slowness=16):
    # Yang et al., arXiv 2312.06635, Section 4: alpha_t = sigmoid(x_t W_1 W_2 + b)^(1 / tau), tau = 16,
    # S_t = Diag(alpha_t) S_{t-1} + k_t^T v_t, o_t = q_t S_t, and queries over the root of their width.
    S = zeros(HEADS, 2, 4)
    for x_t in x:
        q, k = (w["qk.weight"] @ x_t).view(2, HEADS, 2)
        v = per_head(w["v.weight"] @ x_t)
        logits = w["decay.1.weight"] @ (w["decay.0.weight"] @ x_t) + w["decay.1.bias"]
        alpha = per_head(sigmoid(logits) ** (1 / slowness))
        o = []
        for h in range(HEADS):
            S[h] = torch.diag(alpha[h]) @ S[h] + outer(k[h], v[h])
            o.append(q[h] / 2**0.5 @ S[h])
        yield gated_output(w, x_t, o)


def rwkv6(w, x, rank, **_):
    # Peng et al., arXiv 2404.05892, the equations of Finch: lerp(a, b, mu) = a + (b - a) * mu, and
    # ddlerp(a, b) = lerp(a, b, lambda + tanh(lerp(a, b, mu_x) A) B), of a token and the one before it, once for each of
    # r, k, v, g and w. w_t = exp(-exp(omega + tanh(. A) B)), wkv_t = S_{t-1} + diag(u) k_t^T v_t,
    # S_t = diag(w_t) S_{t-1} + k_t^T v_t, o_t = LayerNorm(r_t wkv_t) silu(g_t): a norm by head which, like the authors'
    # code, adds 64e-5 to the variance at a width of 64.
    A, B = w["share_in.weight"].view(5, rank, WIDTH), w["share_out"]
    S = zeros(HEADS, 4, 4)
    for x_t, before in zip(x, cat([zeros(1, WIDTH), x]), strict=False):
        base = x_t + (before - x_t) * w["share"][0]
        inputs = []
        for use in range(5):
            mu = w["share"][1 + use] + tanh(A[use] @ base) @ B[use]
            inputs.append(x_t + (before - x_t) * mu)
        r, k, v, g = (w[f"qkvg.{use}.weight"] @ inputs[use] for use in range(4))
        decay = w["pace"] + w["decay.2.weight"] @ tanh(w["decay.0.weight"] @ inputs[4])
        decay = per_head(exp(-exp(decay)))
        r, k, v = map(per_head, (r, k, v))
        o = []
        for h in range(HEADS):
            kv = outer(k[h], v[h])
            read = r[h] @ (torch.diag(w["bonus"][h]) @ kv + S[h])
            S[h] = torch.diag(decay[h]) @ S[h] + kv
            o.append((read - read.mean()) / (read.var(correction=0) + 64e-5 * 4 / 64).sqrt())
        normed = w["norm.weight"] * cat(o) + w["norm.bias"]
        yield w["out.weight"] @ (normed * silu(g))


def hgrn2(w, x, **_):
    # Qin et al., arXiv 2404.07904: g_t = gamma + (1 - gamma) sigmoid(W x_t), S_t = Diag(g_t) S_{t-1} + (1 - g_t) i_t^T,
    # o_t = S_t^T q_t, q_t = silu(W x_t), and a norm over all heads, as in the authors' code.
    S = zeros(HEADS, 4, 4)
    for x_t in x:
        q, i = (w["qv.weight"] @ x_t).view(2, HEADS, 4)
        gamma = sigmoid(w["bound"])
        g = per_head(gamma + (1 - gamma) * sigmoid(w["forget.weight"] @ x_t))
        o = []
        for h in range(HEADS):
            S[h] = torch.diag(g[h]) @ S[h] + outer(1 - g[h], i[h])
            o.append(S[h].T @ silu(q[h]))
        yield w["out.weight"] @ rms_norm(cat(o), w["norm.weight"])


def kda(w, x, negative_eigenvalues=False):
    # Kimi Team, arXiv 2510.26692, Section 3: S_t = (I - beta_t k_t k_t^T) Diag(alpha_t) S_{t-1} + beta_t k_t v_t^T,
    # alpha_t = exp(-exp(A) softplus(W_up W_down x_t + dt)), o_t = W_o (sigmoid(W_up W_down x_t) RMSNorm(S_t^T q_t)).
    S = zeros(HEADS, 4, 4)
    for x_t, q, k, v, beta in delta_inputs(w, x, 4, 4, 1 + negative_eigenvalues):
        step = per_head(softplus(w["decay.1.weight"] @ (w["decay.0.weight"] @ x_t) + w["dt_bias"]))
        o = []
        for h in range(HEADS):
            alpha = exp(-exp(w["A_log"][h]) * step[h])
            erase = eye(4) - beta[h] * outer(k[h], k[h])
            S[h] = erase @ torch.diag(alpha) @ S[h] + beta[h] * outer(k[h], v[h])
            o.append(rms_norm(S[h].T @ q[h], w["norm.weight"]))
        gate = sigmoid(w["gate.1.weight"] @ (w["gate.0.weight"] @ x_t))
        yield w["out.weight"] @ (gate * cat(o))


def deltaproduct(w, x, factors=2, gated=True, negative_eigenvalues=True):
    # Siems et al., arXiv 2502.10297: H_{i,j} = H_{i,j-1} - beta_{i,j} k_{i,j} (k_{i,j}^T H_{i,j-1} - v_{i,j}^T) for
    # j = 1 to n_h, H_{i,0} = g_i H_{i-1,n_h}, o_i = H_{i,n_h}^T q_i, beta = 2 sigmoid, and Gated DeltaNet's g.
    H = zeros(HEADS, 4, 4)
    qkv = short_convolution(w, "convolution", x @ w["qkv.weight"].T)
    for x_i, mixed in zip(x, qkv, strict=True):
        mixed = mixed.view(1 + 2 * factors, HEADS, 4)
        q, k, v = mixed[0], mixed[1 : 1 + factors], mixed[1 + factors :]
        beta = (1 + negative_eigenvalues) * sigmoid(w["erase.weight"] @ x_i).view(factors, HEADS)
        if gated:
            g = exp(-exp(w["A_log"]) * softplus(w["decay.weight"] @ x_i + w["dt_bias"]))
        o = []
        for h in range(HEADS):
            if gated:
                H[h] = g[h] * H[h]
            for j in range(factors):
                key = unit(k[j, h])
                H[h] = H[h] - beta[j, h] * outer(key, key @ H[h] - v[j, h])
            o.append(H[h].T @ unit(q[h]))
        yield gated_output(w, x_i, o)


MAMBA2 = {"heads": 4, "groups": 2, "state": 5}
CASES = [
    (linear_attention, {}),
    (linear_attention, {"feature_map": "relu"}),
    (linear_attention, {"feature_map": "identity", "normalised": False}),
    (deltanet, {}),
    (deltanet, {"negative_eigenvalues": True}),
    (gated_deltanet, {}),
    (gated_deltanet, {"negative_eigenvalues": True}),
    (retnet, {}),
    (mamba2, MAMBA2),
    (mamba2, {**MAMBA2, "groups": 1, "bias": True, "conv_bias": False, "taps": 3}),
    (mamba2, {**MAMBA2, "shortest": 0.5, "longest": 1.5}),
    (mlstm, {}),
    (gated_rfa, {}),
    (gated_rfa, {"features": "arccos", "projections": 20}),
    (gated_rfa, {"projections": 1}),
    (s4, {"state": 4}),
    (s6, {"state": 4}),
    (s6, {"state": 3, "rank": 2}),
    (mamba, {"state": 4}),
    (mamba, {"state": 3, "rank": 2, "bias": True, "conv_bias": False, "taps": 3}),
    (gla, {}),
    (gla, {"slowness": 2.0}),
    (rwkv6, {"rank": 5, "decay_rank": 2}),
    (hgrn2, {}),
    (kda, {}),
    (kda, {"negative_eigenvalues": True}),
    (deltaproduct, {}),
    (deltaproduct, {"factors": 3, "gated": False, "negative_eigenvalues": False}),
]


each_case = pytest.mark.parametrize(
    ("definition", "options"),
    CASES,
    ids=lambda case: case.__name__ if callable(case) else ", ".join(f"{k}={v}" for k, v in case.items()),
)


def named(definition):
    return definition.__name__.replace("_", "-")


def make(definition, options):
    """A layer none of whose parameters has a value that hides it, such as one or zero."""
    if "heads" in ROWS[named(definition)].__init__.__annotations__:
        options = {"heads": HEADS} | options
    layer = ROWS[named(definition)](WIDTH, **options).double()
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.normal_(std=parameter.shape[-1] ** -0.5 if parameter.dim() > 1 else 1.0)
    return layer


def test_every_row_is_defined():
    assert {named(definition) for definition, _ in CASES} == set(ROWS)


@each_case
def test_a_layer_computes_the_equations_of_its_paper(definition, options):
    layer = make(definition, options)
    x = torch.randn(2, LENGTH, WIDTH, dtype=torch.float64)
    with torch.no_grad():
        expected = [torch.stack(list(definition(layer.state_dict(), row, **options))) for row in x]
        torch.testing.assert_close(layer(x)[0], torch.stack(expected), rtol=1e-10, atol=1e-10)


@each_case
def test_every_parameter_changes_what_is_said(definition, options):
    layer = make(definition, options)
    y, _ = layer(torch.randn(2, LENGTH, WIDTH, dtype=torch.float64))
    for gradient in torch.autograd.grad((y * torch.randn_like(y)).sum(), list(layer.parameters())):
        assert gradient.abs().max() > 1e-6
